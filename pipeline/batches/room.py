"""The free memory of a device."""

import torch


def free_bytes(device: torch.device) -> int:
    """Return the free memory of an accelerator."""
    if device.type == "mps":  # of whose memory torch.accelerator knew nothing before 2.13
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return torch.accelerator.get_memory_info(device)[0]
