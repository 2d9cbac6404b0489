"""``upload``: files of 20 KB and of 20 MB, and the memory that they take meanwhile."""

import os
from collections.abc import Iterator
from pathlib import Path

from loadtests import contact_form, generator
from loadtests.bench import Bench
from loadtests.measure import RunFailed, check_answer, measure
from loadtests.processes import watched
from loadtests.product import Product
from loadtests.results import Run

_CASES = {"20 KB, 64 clients": (20_000, 64), "20 MB, 4 clients": (20_000_000, 4)}


def run(name: str, bench: Bench) -> Iterator[Run]:
    """A run for each size. Raises RunFailed."""
    for number, (case, (file_bytes, clients)) in enumerate(_CASES.items()):
        with bench.below(str(number)).product() as product:
            figures = _upload(product, bench, file_bytes, clients)
            yield Run("upload", name, "FormFlow", figures, case)


def _upload(product: Product, bench: Bench, file_bytes: int, clients: int) -> dict[str, float]:
    target, work = product.target(), contact_form.multipart(file_bytes)
    check_answer(target, work)
    with watched(target.processes) as peaks:
        load, figures = measure(
            target, work, lambda: generator.drive(target, work, clients, bench.seconds)
        )
    _check_files(product.data_dir / "files", load.accepted + 1, file_bytes)
    growth = {f"{role}_growth_mb": grown for role, grown in peaks.growth_mb.items()}
    megabytes = figures["posts_per_second"] * file_bytes / 1e6
    return figures | growth | {"megabytes_per_second": megabytes}


def _check_files(directory: Path, posts: int, file_bytes: int) -> None:
    """Raises RunFailed unless there is one whole file for each post."""
    sizes = [
        Path(folder, name).stat().st_size
        for folder, _, names in os.walk(directory)
        for name in names
    ]
    if len(sizes) != posts or set(sizes) != {file_bytes}:
        raise RunFailed(f"{posts} posts with a file, {len(sizes)} files of {set(sizes)} bytes")
