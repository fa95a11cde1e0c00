"""The mutation operators: each is a pure function from a module's source to the places where it can plant its bug.

`statements` has the bugs of durable code: a call, a sync, an order, a lock. `values` has wrong ids, lengths, variables and
checksums. `usual` has the operators of every mutation tester. `table` names them all.
"""
