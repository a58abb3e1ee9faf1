rule joint:
    """Train both stages together."""
    input:
        inputs("joint"),
    output:
        outputs("joint"),
    log:
        "logs/joint/{run}.log",
    benchmark:
        "logs/joint/{run}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=scaled(8000),
        runtime=scaled(480),
        gpu_slot=gpu_slot,
    params:
        stage=name("joint"),
        settings=settings("joint"),
        processes=processes,
    shell:
        TRAIN
