rule plan:
    """Let DVC record that the plan agrees with params.yaml."""
    input:
        inputs("plan"),
    output:
        outputs("plan"),
    log:
        "logs/plan.log",
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        stage=name("plan"),
        settings=settings("plan"),
    shell:
        REPRO
