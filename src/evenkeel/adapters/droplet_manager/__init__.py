"""The droplet manager of an az for real: drives a `fleet.manager.LeaseManager` over links and a lease store.

leases      contacts in, grants out; the worker whose pace is the measured capacity
storekeeper whether the store answers; amnesty when it does again; who manages by its word
instances   what is placed where, what hosts are told to run, what they say runs
launching   launches: idempotent, in line beside the recovery, refused honestly
joining     newcomers: token, key, certificate, place in the inventory
control     how the launch API and the operators reach all this; client: their side of it
desk        what a process answers to them, whether it has its az or stands by
"""
