"""TGSR's grouping: which degradations a pretrained network does not master, and which of them belong together.

The stages, one file each: `stages` (tasks -> scores -> unsatisfactory -> joint -> improvements -> groups), what they are
made of: `inputs` (crops), `scoring` (the 100-iteration score), `indicators` (cheaper ones), `shards` (many processes),
and `report`. Method `tgsr` (`pytrain.methods.tgsr`) trains with the result.

Source: Zhang et al. 2023, "Real-World Image Super-Resolution as Multi-Task Learning", NeurIPS. The authors published
neither this part nor the training; what is ours is said where it stands.
"""
