// Package hypervisortest judges drivers: a table of cases, each of which states in words the rule of
// hypervisor.Driver, or of one of its optional interfaces, that it checks.
//
// A driver's own test names the driver, hosts on which machines may be made, and an order that boots there:
//
//	func TestConformance(t *testing.T) {
//		hypervisortest.Run(t, hypervisortest.Setup{
//			Driver:    driver,
//			Hosts:     []pool.HostID{"acme/h1", "acme/h2"},
//			Order:     order,
//			BadSource: "no-such-image",
//			Abilities: []hypervisor.Ability{hypervisor.CanReboot},
//		})
//	}
//
// Check does the same without package testing and returns a Report; Table prints several side by side.
//
// Some rules can be judged only with help from outside the driver: Setup.PowerOn brings back the host that the
// suite fences, Setup.Content looks into disks, so that a machine that is unshelved, moved or reverted is known
// to have what it should. What the setup cannot do is "not offered", and says so.
//
// The suite makes and destroys machines of its own, tagged with ledgers of its own, and touches no others.
// It runs its cases one after another, gives every call time (see Setup.Timeout), and at the end requires
// that the hosts list what they listed at the beginning. A rule that the suite relies on throughout: a list
// of machines begun after a call has returned shows what the call has done.
package hypervisortest
