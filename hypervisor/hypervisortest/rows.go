package hypervisortest

import "github.com/berthage/berthage/hypervisor"

// rows is the suite. "leaves-nothing" is the last, as it judges all the others; "context-ends" comes early, as
// what it leaves in doubt has to settle until then.
func rows() []row {
	return []row{
		{Case{Name: "capabilities",
			Rule: "Describe names, sorted and once, known abilities whose interfaces the driver has, and exactly those that were expected; it answers at once"},
			nil, capabilities},
		{Case{Name: "not-offered",
			Rule: "an optional call whose ability is not offered on the host fails with errors.ErrUnsupported"},
			needsUnoffered, notOffered},
		{Case{Name: "context-ends",
			Rule: "a call returns soon after its context ends, with that error unless it had succeeded, and the machine can be looked at afterwards"},
			nil, contextEnds},
		{Case{Name: "hosts-valid",
			Rule: "every host is well-formed and listed once, its id begins with the driver's name, and the hosts of the setup are ready"},
			nil, hostsValid},
		{Case{Name: "answers-own",
			Rule: "what a call returns belongs to its caller: changing it changes no later answer"},
			nil, answersOwn},
		{Case{Name: "inventory-stable",
			Rule: "the inventory of a host does not change when machines of ours come, run and go"},
			nil, inventoryStable},
		{Case{Name: "machines-complete",
			Rule: "the list of a host has every machine once, ours and all others, with its host and native id, and none of another host"},
			nil, machinesComplete},
		{Case{Name: "unknown-host",
			Rule: "every call on a host that the driver does not have is ErrNotFound"},
			nil, unknownHost},
		{Case{Name: "unknown-machine",
			Rule: "a call other than create and destroy on a machine that is not there is ErrNotFound"},
			nil, unknownMachine},
		{Case{Name: "create-stopped",
			Rule: "create leaves the machine listed with its tag and sizes, stopped (running only where the hypervisor cannot create without starting)"},
			nil, createStopped},
		{Case{Name: "create-twice",
			Rule: "with CreateUnique, a create of an id that is on the host, whoever made it, is ErrExists and changes nothing"},
			needsUnique, createTwice},
		{Case{Name: "create-race",
			Rule: "with CreateUnique, of several creates of one id at the same time one succeeds and makes one machine"},
			needsUnique, createRace},
		{Case{Name: "create-fails",
			Rule: "a create from an image that is not there fails, says that nothing was done, leaves nothing, and a good one of the same id then succeeds"},
			needsBadSource, createFails},
		{Case{Name: "create-disks",
			Rule: "a machine gets all its disks; where they are metered they are seen"},
			nil, createDisks},
		{Case{Name: "create-text",
			Rule: "labels and user-data with quotes, markup and foreign letters are encoded, never pasted"},
			nil, createText},
		{Case{Name: "tags-exact",
			Rule: "ledger, machine and launch come back exactly as they were given, however large, whatever happens to the machine"},
			nil, tagsExact},
		{Case{Name: "tags-reopened",
			Rule: "a new driver for the same hosts finds the machines with their tags and power"},
			needsReopen, tagsReopened},
		{Case{Name: "start",
			Rule: "start makes the machine run; starting a running one succeeds and leaves it running"},
			nil, start},
		{Case{Name: "stop",
			Rule: "stop ends with the machine stopped, whether or not the guest obeys; a stopped one succeeds, and can be started again"},
			nil, stopped},
		{Case{Name: "destroy",
			Rule: "destroy removes the machine, running or not; one that is gone or never was is success"},
			nil, destroy},
		{Case{Name: "destroy-foreign",
			Rule: "destroying a machine under another ledger's or another launch's tag is ErrForeign and touches nothing"},
			nil, destroyForeign},
		{Case{Name: "power-foreign",
			Rule: "starting, stopping or changing a machine in any other way under another ledger's or another launch's tag is ErrForeign and touches nothing"},
			nil, powerForeign},
		{Case{Name: "untagged",
			Rule: "a machine without a tag is listed with a zero one, and is not destroyed even if it stands where ours would"},
			needsUntagged, untagged},
		{Case{Name: "placements-apart",
			Rule: "two placements of one instance are two machines: stopping and destroying one leaves the other running"},
			nil, placementsApart},
		{Case{Name: "copies-apart",
			Rule: "two copies of one machine id on two hosts are two machines: a call on one host's leaves the other's as it is"},
			needsTwoHosts, copiesApart},
		{Case{Name: "suspend", Ability: hypervisor.CanSuspend,
			Rule: "suspend and resume are idempotent, and ErrWrongPower on a stopped machine"},
			nil, suspend},
		{Case{Name: "suspended-ends", Ability: hypervisor.CanSuspend,
			Rule: "a suspended machine can be stopped and destroyed, and start either resumes it or is ErrWrongPower"},
			nil, suspendedEnds},
		{Case{Name: "hibernate", Ability: hypervisor.CanHibernate,
			Rule: "hibernate is idempotent and ErrWrongPower on a stopped machine; start lets a hibernated one run on, stop and destroy end it"},
			nil, hibernate},
		{Case{Name: "reboot", Ability: hypervisor.CanReboot,
			Rule: "a rebooted machine runs; rebooting one that does not run is ErrWrongPower and does not start it"},
			nil, reboot},
		{Case{Name: "shelve", Ability: hypervisor.CanShelve,
			Rule: "shelve takes a stopped machine off its host, once; unshelve makes another machine with its disks, on any host; what runs or is not there is not shelved"},
			nil, shelve},
		{Case{Name: "shelf", Ability: hypervisor.CanShelve,
			Rule: "what is put aside stays until it is discarded under its own tag, discarding touches no machine, and without it unshelve is ErrRefused and makes nothing"},
			nil, shelfKeeps},
		{Case{Name: "resize", Ability: hypervisor.CanResize,
			Rule: "resize gives a stopped machine the sizes of the order and changes nothing else; the same order again is success"},
			nil, resize},
		{Case{Name: "resize-refused", Ability: hypervisor.CanResize,
			Rule: "an order earlier than the last is ErrRefused, a smaller disk or another number of disks ErrInvalid, and the sizes stay"},
			nil, resizeRefused},
		{Case{Name: "resize-running", Ability: hypervisor.CanResize,
			Rule: "a machine that runs is resized and goes on running with CanResizeHot, and is ErrWrongPower and as it was without"},
			nil, resizeRunning},
		{Case{Name: "disks", Ability: hypervisor.CanAttachDisk,
			Rule: "a stopped machine gets the disks of the order and gives up those beyond it, with the rest as it was; the same order again is success"},
			nil, setDisks},
		{Case{Name: "disks-refused", Ability: hypervisor.CanAttachDisk,
			Rule: "an order earlier than the last is ErrRefused, another size of a disk or no disk at all ErrInvalid, and the disks stay"},
			nil, setDisksRefused},
		{Case{Name: "disks-running", Ability: hypervisor.CanAttachDisk,
			Rule: "a machine that runs gets another disk and goes on running; its guest may hold a disk that is to go, which is ErrRefused and leaves it"},
			nil, setDisksRunning},
		{Case{Name: "migrate", Ability: hypervisor.CanMigrate,
			Rule: "a stopped machine that migrates is afterwards on the other host and nowhere else, with its tag, sizes and content; the same order again is success"},
			needsMigration, migrate},
		{Case{Name: "migrate-refused", Ability: hypervisor.CanMigrate,
			Rule: "an earlier order, a host that is not there, one where the id is taken, or the machine's own leaves the machine where it was, with the error that says so"},
			needsMigration, migrateRefused},
		{Case{Name: "migrate-running", Ability: hypervisor.CanMigrate,
			Rule: "a machine that runs moves and goes on running with CanMigrateLive on both hosts, and is ErrWrongPower and as it was without"},
			needsMigration, migrateRunning},
		{Case{Name: "snapshots", Ability: hypervisor.CanSnapshot,
			Rule: "snapshots are listed by their names, oldest first, each name once, until they are deleted or the machine is destroyed"},
			nil, snapshots},
		{Case{Name: "revert", Ability: hypervisor.CanSnapshot,
			Rule: "revert brings back what was on the disks of a stopped machine; one that runs is ErrWrongPower, a name that is not kept ErrRefused"},
			nil, revert},
		{Case{Name: "images", Ability: hypervisor.CanImage,
			Rule: "an image is imported whole or not at all, once per name and content, is listed by its source until it is removed, and machines can be made of it"},
			nil, images},
		{Case{Name: "watch", Ability: hypervisor.CanWatch,
			Rule: "watch calls once when it is watching and again after a change, one call at a time, and returns with its context's error"},
			nil, watch},
		{Case{Name: "console-log", Ability: hypervisor.CanConsole,
			Rule: "the log is the newest output of the console, and at most as long as was asked for"},
			nil, consoleLog},
		{Case{Name: "display", Ability: hypervisor.CanConsole,
			Rule: "the display of a running machine is a URL with a host; of one that does not run it is ErrWrongPower"},
			nil, display},
		{Case{Name: "samples", Ability: hypervisor.CanMeter,
			Rule: "samples are of the host and of tagged machines on it, each once, finite, not negative, timed now, with names of package hypervisor or of the driver's own prefix"},
			nil, samples},
		{Case{Name: "counters", Ability: hypervisor.CanMeter,
			Rule: "a counter (_total) of a running machine or of its host does not fall"},
			nil, counters},
		{Case{Name: "context-ended",
			Rule: "a call whose context has ended before it does nothing and returns the context's error"},
			nil, contextEnded},
		{Case{Name: "concurrent",
			Rule: "calls on different machines at the same time do not disturb each other"},
			nil, concurrent},
		{Case{Name: "disturbed-create",
			Rule: "whichever request of a create is lost, answered to nobody, late or doubled: what it says of the outcome is so, and it can be repeated or destroyed"},
			needsDisturb, disturbedCreate},
		{Case{Name: "disturbed-destroy",
			Rule: "whichever request of a destroy is disturbed: success means gone, and a repetition makes it so"},
			needsDisturb, disturbedDestroy},
		{Case{Name: "disturbed-power",
			Rule: "whichever request of a start, a stop or the like is disturbed: what it says of the outcome is so, and a repetition ends it"},
			needsDisturb, disturbedPower},
		{Case{Name: "disturbed-changes",
			Rule: "whichever request of a resize, a snapshot, a migration or the like is disturbed: what it says is so, and a repetition ends it"},
			needsDisturb, disturbedChanges},
		{Case{Name: "fence", Ability: hypervisor.CanFence,
			Rule: "fence says how the host was seen to be off, also if it was off already; nothing on it runs when it is back, and no other host is touched"},
			needsPowerOn, fence},
		{Case{Name: "leaves-nothing",
			Rule: "at the end the hosts have what they had at the beginning: machines, and what Setup.Traces names"},
			nil, leavesNothing},
	}
}

func needsUnique(s *suite) string {
	if !hypervisor.CapabilitiesOf(s.Driver, s.Hosts[0]).CreateUnique {
		return "CreateUnique"
	}
	return ""
}

func needsBadSource(s *suite) string {
	if s.BadSource == "" {
		return "no Setup.BadSource"
	}
	return ""
}

func needsReopen(s *suite) string {
	if s.Reopen == nil {
		return "no Setup.Reopen"
	}
	return ""
}

func needsUntagged(s *suite) string {
	if s.Untagged == nil {
		return "no Setup.Untagged"
	}
	return ""
}

func needsTwoHosts(s *suite) string {
	if len(s.Hosts) < 2 {
		return "one host only"
	}
	return ""
}

func needsMigration(s *suite) string {
	switch {
	case len(s.Hosts) < 2:
		return "one host only"
	case !hypervisor.Has(s.Driver, s.Hosts[1], hypervisor.CanMigrate):
		return "ability " + string(hypervisor.CanMigrate) + " on the second host"
	}
	return ""
}

func needsPowerOn(s *suite) string {
	if s.PowerOn == nil {
		return "no Setup.PowerOn"
	}
	return ""
}

func needsUnoffered(s *suite) string {
	if len(unoffered(s)) == 0 {
		return "every optional interface of the driver works on the host"
	}
	return ""
}
