"""Files of processed cells, for docs/artifacts.md."""

from __future__ import annotations

from weir.artifacts.description import Array, Field, File
from weir.tasks.perturb.data.cells import DATA, INDICES, INDPTR
from weir.tasks.perturb.data.load import CELLS, NICHE
from weir.tasks.perturb.data.pca import PCA
from weir.tasks.perturb.data.schema import LAW

FILES = (
    File(DATA, "counts that are not 0, cell by cell", format="uint16 or uint32 `[nonzero]`"),
    File(INDICES, "the gene of each count", format="int16 or int32 `[nonzero]`"),
    File.of(
        Array(INDPTR.removesuffix(".npy"), "int64", ("cell + 1",), "where a cell's counts begin")
    ),
    File(
        CELLS,
        "one row a cell",
        (
            Field("name", "text", "as in the raw file"),
            Field("row", "int64", "in the raw file"),
            Field("part", "int64", "0 train, 1 validation, 2 test"),
            Field("batch", "int64", "code, 0 for unknown"),
            Field("cell_type", "int64", "code, 0 for unknown"),
            Field("condition", "int64", "number in `conditions`"),
            Field("context", "int64", "number in `contexts`"),
            Field("library", "float32", "sum of the counts of the chosen genes"),
        ),
    ),
    File.of(Array(NICHE.removesuffix(".npy"), "float32", ("cell", "niche"), "spatial features")),
    File(PCA, "`mean` `[gene]` and `components` `[k, gene]` of expression, float32"),
    *(File(name, "the law of simulated cells; absent otherwise") for name in LAW),
)
