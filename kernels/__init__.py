"""Transformer layers over packed tokens of images that differ in their number of channels.

Imports only the standard library, torch, triton and itself.
"""

if __name__ == "kernels":
    # Imported by accident: the root of the checkout is on sys.path and this folder shadows the
    # distribution "kernels", which other packages such as transformers import.
    import importlib.machinery
    import importlib.util
    import sys
    from pathlib import Path

    _root = Path(__file__).resolve().parent.parent
    _elsewhere = [p for p in sys.path if Path(p or ".").resolve() != _root]
    _real = importlib.machinery.PathFinder.find_spec("kernels", _elsewhere)
    if _real is None or _real.loader is None:
        raise ImportError(
            f"{_root / 'kernels'} is zoo.kernels, not the distribution 'kernels', which is not "
            "installed; import zoo.kernels, or leave this folder",
            name="kernels",
        )
    _module = importlib.util.module_from_spec(_real)
    sys.modules["kernels"] = _module
    _real.loader.exec_module(_module)
else:
    from ._channel_attention import ChannelAttention, channel_attention
    from ._fused_layer import LayerWeights, norm_qkv, residual_mlp
    from ._pack_tokens import pack_tokens
    from ._ragged_attention import BACKENDS, ragged_attention
    from ._ragged_plan import RaggedPlan
    from ._token_layout import TokenLayout

    __all__ = [
        "BACKENDS",
        "ChannelAttention",
        "LayerWeights",
        "RaggedPlan",
        "TokenLayout",
        "channel_attention",
        "norm_qkv",
        "pack_tokens",
        "ragged_attention",
        "residual_mlp",
    ]
