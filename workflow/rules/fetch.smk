rule fetch:
    """Obtain raw data, or simulate it."""
    input:
        inputs("fetch"),
    output:
        outputs("fetch"),
    log:
        "logs/fetch/{run}.log",
    benchmark:
        "logs/fetch/{run}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(60),
    params:
        stage=name("fetch"),
        settings=settings("fetch"),
    shell:
        REPRO
