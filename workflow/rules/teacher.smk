rule teacher:
    """Sample a trained flow."""
    input:
        inputs("teacher"),
    output:
        outputs("teacher"),
    log:
        "logs/teacher/{run}.log",
    benchmark:
        "logs/teacher/{run}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=scaled(8000),
        runtime=scaled(240),
        gpu_slot=gpu_slot,
    params:
        stage=name("teacher"),
        settings=settings("teacher"),
    shell:
        REPRO
