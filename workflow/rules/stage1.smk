rule stage1:
    """Train a representation."""
    input:
        inputs("stage1"),
    output:
        outputs("stage1"),
    log:
        "logs/stage1/{run}.log",
    benchmark:
        "logs/stage1/{run}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=scaled(8000),
        runtime=scaled(240),
        gpu_slot=gpu_slot,
    params:
        stage=name("stage1"),
        settings=settings("stage1"),
        processes=processes,
    shell:
        TRAIN
