"""Which crash states a power cut could leave, enumerated by content. `crash_states` puts the parts together.

Read in this order: `cuts` (stretches of a trace within which a cut makes no further difference), `choices` (what can be there or
not at a cut), `shapes` (the order within a cut), `turns` (the order among cuts).

*Choices.* A write to a sector matters only if its content differs from another content that the sector may have instead: the
durable one, or that of an earlier pending write. Otherwise the sector reads the same whether the write reached the disk or not.
So a cut has one choice for each changed sector of each pending write, and for each other pending change; writes that change
nothing, and those that the filesystem's recovery cannot see in any combination (`block.ext4.outcomes`), have none. With n
choices, a cut leaves at most 2**n different disks, and this module names each of them by n bits. A disk may leave each: it
holds a write in its cache, and writes sectors in any order until it is flushed. It never leaves half a sector, and on
filesystems that rely on larger units, never half a unit.

*Cuts.* Between two operations that are neither sync nor promise, a cut leaves a subset of what it may leave later, with the same
promises made. So one cut stands for each such stretch, at its end.

*All of it.* If the cuts of a trace have few choices in all (`crash_states.EXHAUSTIVE_MAX`), every combination is enumerated. Then
nothing is left out: each crash state that the model allows has an image that was given, after the same promises.
"""
