"""The best student of a data set is found by name, whatever else is registered."""

import math
import subprocess
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from weir.commands.tracking import show_champions
from weir.errors import UserError
from weir.tracking.registry import ALIAS, register_champion
from weir.tracking.run import open_stage
from weir.tracking.shipper import sync


@pytest.fixture
def client(server) -> MlflowClient:
    return MlflowClient(tracking_uri=server.uri, registry_uri=server.uri)


def champion(client: MlflowClient, dataset: str) -> str:
    return client.get_model_version_by_alias(dataset, ALIAS).tags["folder"]


def test_the_lowest_score_holds_the_alias(client: MlflowClient) -> None:
    def run() -> str:
        return client.create_run("0").info.run_id

    first, second = run(), run()
    assert register_champion(client, "low", first, "results/distill/a", "crps", 0.5)
    assert not register_champion(client, "low", run(), "results/distill/b", "crps", 0.6)
    assert not register_champion(client, "low", run(), "results/distill/c", "crps", math.nan)
    assert champion(client, "low") == "results/distill/a"
    assert register_champion(client, "low", second, "results/distill/d", "crps", 0.4)
    assert register_champion(client, "low", second, "results/distill/d", "crps", 0.4)
    assert champion(client, "low") == "results/distill/d"
    assert len(client.search_model_versions("name = 'low'")) == 2


def test_a_higher_score_may_be_better(client: MlflowClient) -> None:
    runs = [client.create_run("0").info.run_id for _ in range(2)]
    for run, value in zip(runs, (0.7, 0.8), strict=True):
        assert register_champion(
            client, "high", run, str(value), "auroc", value, higher_is_better=True
        )
    assert champion(client, "high") == "0.8"


def test_scores_on_other_data_do_not_compete(client: MlflowClient) -> None:
    runs = [client.create_run("0").info.run_id for _ in range(2)]
    assert register_champion(client, "data", runs[0], "old", "crps", 0.1, data_digest="a")
    assert register_champion(client, "data", runs[1], "new", "crps", 0.9, data_digest="b")
    assert champion(client, "data") == "new"


def test_a_nomination_travels_with_the_run(
    server, client: MlflowClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with open_stage(
        root, section="evaluate", key="x", name="x", seed=0, task="forecast", dataset="nominated"
    ) as tracker:
        tracker.propose_champion("nominated", Path("results/distill/x"), "crps", 0.3)
    assert sync(root).waiting == {}
    assert champion(client, "nominated") == "results/distill/x"


def test_a_champion_is_restored_by_the_command_that_is_said(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*words: str) -> None:
        subprocess.run(words, cwd=root, check=True, capture_output=True)

    def scored(value: float, weights: str) -> None:
        folder = root / "results/distill/x"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_text(weights)
        with open_stage(
            root, section="evaluate", key="x", name="x", seed=0, task="forecast", dataset="sea",
            commit="abc", scored_on="data/test",
        ) as tracker:  # fmt: skip
            tracker.propose_champion("sea", folder.relative_to(root), "crps", value)
        assert sync(root).waiting == {}

    monkeypatch.chdir(root)
    call("git", "init", "--quiet")
    call("git", "config", "user.email", "a@b")
    call("git", "config", "user.name", "a")
    call("dvc", "init", "--quiet")
    (root / "dvc.yaml").write_text(
        "stages:\n  x:\n    cmd: 'true'\n    outs: [results/distill/x]\n"
    )
    scored(0.3, "good")
    call("dvc", "commit", "--force", "--quiet")
    call("git", "add", "--all")
    call("git", "commit", "--quiet", "--message", "run")
    show_champions(root)
    assert capsys.readouterr().out.splitlines()[1].strip() == "is in results/distill/x"
    scored(0.4, "worse, in the same folder")
    show_champions(root)
    name, command = capsys.readouterr().out.splitlines()
    assert name == "sea: results/distill/x, crps 0.3"
    call(*command.split())
    assert (root / "champions/sea/model.safetensors").read_text() == "good"


def test_a_repository_without_champions_says_so(root: Path) -> None:
    with pytest.raises(UserError, match="no runs are recorded there; run `snakemake`"):
        show_champions(root)
