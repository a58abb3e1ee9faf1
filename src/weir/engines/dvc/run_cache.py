"""Results that DVC's run-cache knows, restored also where only the remote has their files.

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
        # Not `local` with `pull`: having looked at the dependencies, it would take outputs of
        # other ones, which dvc.lock still names, for those of these.
        entry = self._load(stage)
        if not entry:
            raise RunCacheNotFoundError(stage)
        cached = self._create_stage(entry, wdir=stage.wdir)
        try:
            for objects in cached.get_used_objs().values():
                self.repo.cloud.pull(objects)
        except Exception as error:
            # A node without a network, or a remote that is away: the stage can still be run.
            what = " ".join(str(error).split()) or type(error).__name__
            logger.warning("remote: %s; stage '%s' is run again", what, stage.addressing)
            raise RunCacheNotFoundError(stage) from error
        if not cached.outs_cached():
            raise RunCacheNotFoundError(stage)
        logger.info("Stage '%s' is cached - skipping run, checking out outputs", stage.addressing)
        cached.checkout()

    StageCache.restore = restore
