"""The folder that ext4 recovers from a crash image, predicted from the image's bytes without mounting it.

Read `layout` and `journal` (the purpose of each block), then `replay` (how far the journal will be replayed), `inodes`
(what a reader of the files sees then), and `outcomes`.
"""
