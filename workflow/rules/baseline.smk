rule baseline:
    """Fit a baseline."""
    input:
        inputs("baseline"),
    output:
        outputs("baseline"),
    log:
        "logs/baseline/{run}.log",
    benchmark:
        "logs/baseline/{run}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(60),
    params:
        stage=name("baseline"),
        settings=settings("baseline"),
        processes=processes,
    shell:
        TRAIN
