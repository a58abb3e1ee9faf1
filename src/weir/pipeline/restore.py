"""A result that the run-cache knows is restored, also where only the remote has its files.

`dvc fetch --run-cache` brings the entries of a colleague's runs and none of their files unless
dvc.lock names them, and `dvc repro` then runs the stage again. Its `--pull` would restore it, but
copies the whole run-cache of the remote first, in every job. Here one entry's files are pulled,
when they are missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.stage import PipelineStage
    from dvc.stage.cache import StageCache


def restore_from_remote() -> None:
    """Let DVC, in this process, ask the remote for what it would otherwise make again."""
    from dvc.dvcfile import logger
    from dvc.stage.cache import RunCacheNotFoundError, StageCache

    local = StageCache.restore

    def restore(
        self: StageCache, stage: PipelineStage, *args: Any, dry: bool = False, **options: Any
    ) -> None:
        try:
            return local(self, stage, *args, dry=dry, **options)
        except RunCacheNotFoundError:
            if dry or not self.repo.config["core"].get("remote"):
                raise
        try:
            return local(self, stage, *args, dry=dry, **{**options, "pull": True})
        except Exception as error:
            if isinstance(error, RunCacheNotFoundError) and error.__cause__ is None:
                raise
            # A node without a network, or a remote that is away: the stage can still be run.
            what = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
            logger.warning("remote: %s; stage '%s' is run again", what, stage.addressing)
            raise RunCacheNotFoundError(stage) from error

    StageCache.restore = restore
