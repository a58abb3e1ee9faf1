rule report:
    """Write one HTML page."""
    input:
        inputs("report"),
    output:
        outputs("report"),
    log:
        "logs/report/{run}.log",
    benchmark:
        "logs/report/{run}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(30),
    params:
        stage=name("report"),
        settings=settings("report"),
    shell:
        REPRO
