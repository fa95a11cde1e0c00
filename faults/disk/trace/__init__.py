"""What a recording leaves: the operations that reached a disk or a tree, in one total order, and how they are stored."""
