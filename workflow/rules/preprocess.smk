rule preprocess:
    """Check, repair, split and standardise."""
    input:
        inputs("preprocess"),
    output:
        outputs("preprocess"),
    log:
        "logs/preprocess/{run}.log",
    benchmark:
        "logs/preprocess/{run}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(30),
    params:
        stage=name("preprocess"),
        settings=settings("preprocess"),
    shell:
        REPRO
