"""Named tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genloom.data.catalog_files import Entry, at, fetch, known_digest
from genloom.data.items import Source

if TYPE_CHECKING:
    from genloom.data.frames import Reading

ADULT = [
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
]  # fmt: skip


def _adult(entry: Entry) -> Source:
    """adult.data to train and adult.test to test; the dots after the test set's classes are dropped."""
    import numpy as np

    from genloom.data.frames import Reading, pandas, source_of

    paths = {f.name: fetch(entry, f) for f in entry.files}

    def read() -> Reading:
        pd = pandas()
        parts = [
            pd.read_csv(paths[name], names=ADULT, skipinitialspace=True, skiprows=skip)
            for name, skip in (("adult.data", 0), ("adult.test", 1))
        ]
        frame = pd.concat(parts, ignore_index=True)
        given = np.repeat([0, 2], [len(part) for part in parts]).astype(np.int8)
        return Reading(frame.assign(income=frame["income"].str.rstrip(".")), True, entry.name, 1, given=given)

    return source_of(entry.name, known_digest(entry), read)


def _learn(name: str, target: str) -> Any:
    """A set that is part of scikit-learn, its classes by name in the column `target`."""

    def opened(entry: Entry) -> Source:
        import numpy as np
        import sklearn.datasets
        from sklearn import __version__

        from genloom.data.frames import Reading, source_of

        def read() -> Reading:
            found = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
            frame = found.frame.rename(columns={"target": target})
            if hasattr(found, "target_names"):
                frame[target] = np.array(found.target_names)[frame[target]]
            return Reading(frame, True, entry.name, 1)

        return source_of(entry.name, f"scikit-learn {__version__} {name}", read)

    return opened


SETS = (
    Entry(
        "adult",
        "Census of 48,842 people in the USA of 1994; target: whether income is above 50,000 dollars.",
        "CC BY 4.0",
        "https://archive.ics.uci.edu/dataset/2/adult",
        48842,
        at(
            "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/",
            """sha256:5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d 3974305 adult.data
            sha256:a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05 2003153 adult.test""",
        ),
        modality="table",
        note="32,561 rows to train and 16,281 to test",
        table=_adult,
    ),
    Entry(
        "breast-cancer",
        "30 measures of cell nuclei of 569 tumours, malignant or benign; part of scikit-learn, needs no download.",
        "CC BY 4.0",
        "https://archive.ics.uci.edu/dataset/17/breast+cancer+wisconsin+diagnostic",
        569,
        (),
        modality="table",
        table=_learn("breast_cancer", "diagnosis"),
    ),
    Entry(
        "wine",
        "13 measures of 178 wines of three growers; part of scikit-learn, needs no download.",
        "CC BY 4.0",
        "https://archive.ics.uci.edu/dataset/109/wine",
        178,
        (),
        modality="table",
        table=_learn("wine", "grower"),
    ),
)
