rule stage2:
    """Train a flow on a frozen stage-1 model."""
    input:
        inputs("stage2"),
    output:
        outputs("stage2"),
    log:
        "logs/stage2/{run}.log",
    benchmark:
        "logs/stage2/{run}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=scaled(8000),
        runtime=scaled(240),
        gpu_slot=gpu_slot,
    params:
        stage=name("stage2"),
        settings=settings("stage2"),
        processes=processes,
    shell:
        TRAIN
