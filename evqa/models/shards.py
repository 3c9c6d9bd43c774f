"""Weights that several processes hold together: each has a shard, a slice along the first dimension."""

from __future__ import annotations

from torch import Tensor, nn


def is_shard(tensor: Tensor) -> bool:
    """Tell whether a tensor stands for a whole of which this process has a part."""
    if type(tensor) in (Tensor, nn.Parameter):  # spares the others the import
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def shard_for(place: Tensor, whole: Tensor) -> Tensor:
    """Return what a place in this process's model holds of a whole tensor: its shard, or all where it is none."""
    if not is_shard(place):
        return whole
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(place, DTensor)
    sharded = distribute_tensor(whole, place.device_mesh, place.placements, src_data_rank=None)
    return sharded.clone()  # a slice would keep the whole alive


def whole_of(tensor: Tensor) -> Tensor:
    """Put a tensor together from the shards of all processes, each of which must call this in the same order."""
    if not is_shard(tensor):
        return tensor
    from torch.distributed.tensor import DTensor

    assert isinstance(tensor, DTensor)
    return tensor.full_tensor()
