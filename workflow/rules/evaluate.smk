rule evaluate:
    """Score a model on every item of a split."""
    input:
        inputs("evaluate"),
    output:
        outputs("evaluate"),
    log:
        "logs/evaluate/{run}.log",
    benchmark:
        "logs/evaluate/{run}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=scaled(8000),
        runtime=scaled(120),
        gpu_slot=gpu_slot,
    params:
        stage=name("evaluate"),
        settings=settings("evaluate"),
    shell:
        REPRO
