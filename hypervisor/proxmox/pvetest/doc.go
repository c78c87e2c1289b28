// Package pvetest is a simulated Proxmox VE: an HTTPS server that answers the part of its API that virtual
// machines need, with nodes, storages, guests, tasks, tokens and tickets that have a state.
//
// It is strict. A parameter that a method does not have, a missing one or one of the wrong form is refused with
// the words that the real server uses; a right that a token lacks is refused, or shortens a list, as there. What
// fails inside a task fails inside a task: the request is answered with 200 and a task id. A test in package
// proxmox replays 233 exchanges with a real Proxmox VE 9.2 against it.
//
//	s := pvetest.New(pvetest.Config{})
//	defer s.Close()
//	d, err := proxmox.New(proxmox.Config{URL: s.URL(), Token: s.Token(), CA: s.CA()})
//
// The figures of /cluster/resources lag behind by Config.Lag, ten seconds unless said otherwise, as those of the real
// one do.
//
// # What is made up
//
// The recording is of one node with a directory as storage. What this package answers beyond it is read from the
// API's description and otherwise a guess: migration that moves, shared storages and others than directories, uploads
// of ISO images, pauses shown in lists, the list of containers, log-in by ticket, websockets. Guests do not
// run: they obey a request to shut down, or not, as SetObeys says, and what "is written" on their disks is a line of
// text per run.
package pvetest
