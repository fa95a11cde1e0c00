"""The result of a recording: the operations that reached a disk or a tree, in one total order, and how they are stored.

Read `operations` first, then `trace`, `durability` (which sync made which change durable), `log` (as the recorder writes it),
`file` (as it is kept) and `named` (a change in words).
"""
