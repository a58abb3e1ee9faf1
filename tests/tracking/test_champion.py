"""The best student of a data set is found by name, whatever else is registered."""

import math
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

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
