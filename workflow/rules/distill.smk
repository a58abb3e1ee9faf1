rule distill:
    """Train a one-step student on a teacher's samples."""
    input:
        inputs("distill"),
    output:
        outputs("distill"),
    log:
        "logs/distill/{run}.log",
    benchmark:
        "logs/distill/{run}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=scaled(8000),
        runtime=scaled(240),
        gpu_slot=gpu_slot,
    params:
        stage=name("distill"),
        settings=settings("distill"),
        processes=processes,
    shell:
        TRAIN
