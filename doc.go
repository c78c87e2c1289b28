// Package berthage runs virtual machines on a fleet of mixed hosts: it pools the hosts' capacity, places
// instances by bin packing, enforces quotas, drives the hypervisors and keeps the books.
//
// A program opens a Manager over a ledger and drivers, runs it, and gives commands:
//
//	m, err := berthage.Open(ctx, berthage.Config{
//		Ledger:  ledger,                                            // pool/sqlledger, or pool.NewMemoryLedger
//		Drivers: map[string]hypervisor.Driver{"kvm": libvirtDriver}, // hypervisor/libvirt, ...
//	})
//	go m.Run(ctx)
//	vm, err := m.Launch(ctx, berthage.Launch{Token: "order-17", Project: "shop", Name: "web-1", Spec: spec})
//	vm, err = m.Wait(ctx, vm.ID, berthage.Settled)
//
// # How it works
//
// Every command and every observation is decided on the books (pool.State) and becomes events, which are
// appended to the ledger with one compare-and-swap and only then seen by anybody. The Manager that leads
// compares what is wanted with what is, calls the drivers, and records the results the same way. So a crash
// at any moment needs no repair: the next Manager folds the ledger and goes on.
//
// # The duties of the caller
//
//  1. Give every launch a token and repeat it, with the same token, when no answer came: it gives the same
//     instance, whatever was lost in between.
//  2. Run the Manager, in one process or in several on the same Ledger and Scratch; one of them leads.
//  3. Keep the ledger. It is the only thing that makes the machines ours: with an empty or older ledger
//     nothing is destroyed, but nothing is known either.
//  4. Treat an error that is pool.ErrUnknown as neither success nor failure: repeat the command.
//
// # Packages
//
// pool has the nouns, the books and the storage contracts; scheduler places; quota limits; hypervisor is the
// contract of drivers, its sub-packages are the drivers, a simulated fleet and a conformance suite; alert
// watches and decides who is told, notify tells, its sub-packages are the receivers. Each can
// be imported alone, and these imports bring in nothing beyond the standard library.
package berthage
