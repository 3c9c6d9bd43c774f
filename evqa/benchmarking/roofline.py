"""What counted kernels would take on a card, by a roofline (Williams et al., CACM 2009)."""

from __future__ import annotations

from collections.abc import Sequence

from evqa.benchmarking.cards import Card
from evqa.benchmarking.counting import Kernel
from evqa.benchmarking.reports import CountedPart

# What good kernels reach of a data sheet's peaks: an assumption, the same for all of them.
FLOPS_SHARE, BANDWIDTH_SHARE = 0.7, 0.85


def counted_parts(kernels: Sequence[Kernel], card: Card) -> list[CountedPart]:
    """Sum kernels by pass and part, in the order in which these begin."""
    places: dict[tuple[str, str], list[Kernel]] = {}
    for kernel in kernels:
        places.setdefault((kernel.phase, kernel.part), []).append(kernel)
    order = ("forward", "backward", "again", "optimizer")
    return [_summed(places[place], card) for place in sorted(places, key=lambda place: order.index(place[0]))]


def _summed(kernels: Sequence[Kernel], card: Card) -> CountedPart:
    return CountedPart(
        phase=kernels[0].phase,
        part=kernels[0].part,
        flops=sum(kernel.flops for kernel in kernels),
        matrix_bytes=sum(kernel.num_bytes for kernel in kernels if kernel.flops),
        other_bytes=sum(kernel.num_bytes for kernel in kernels if not kernel.flops),
        kernels=len(kernels),
        seconds=sum(roofline_seconds(kernel, card) for kernel in kernels),
    )


def roofline_seconds(kernel: Kernel, card: Card) -> float:
    """Time of a kernel that computes and moves data at once (Williams et al., Roofline, CACM 2009), at the shares."""
    computing = kernel.flops / (FLOPS_SHARE * card.flops(is_half=kernel.is_half))
    return max(computing, kernel.num_bytes / (BANDWIDTH_SHARE * card.bandwidth))
