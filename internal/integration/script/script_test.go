package script_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// spec asks for whole cores, GiB of memory, and disks; of none, the default.
func spec(cores, gib int64, disks ...pool.Disk) pool.Spec {
	return pool.Spec{Image: "tiny", Resources: pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: gib * pool.GiB}, Disks: disks}
}

func disk(gib int64, s pool.Storage, iops int64) pool.Disk {
	return pool.Disk{Size: gib * pool.GiB, Storage: s, IOPS: iops}
}

// with returns the spec with something else changed.
func with(s pool.Spec, change func(*pool.Spec)) pool.Spec {
	change(&s)
	return s
}

// The commands, for either side. Instances are called by their names.

type command = func(*side) error

func launch(name, project string, s pool.Spec, want pool.Power) command {
	return func(x *side) error {
		_, err := x.m.Launch(x.t.Context(), berthage.Launch{Token: name, Project: project, Name: name, Spec: s, Want: want})
		return err
	}
}

func power(name string, want pool.Power) command {
	return func(x *side) error {
		_, err := x.m.SetPower(x.t.Context(), x.ids[name], want)
		return err
	}
}

func reboot(name, token string) command {
	return func(x *side) error {
		_, err := x.m.Reboot(x.t.Context(), x.ids[name], token)
		return err
	}
}

func remove(name string) command {
	return func(x *side) error {
		_, err := x.m.Delete(x.t.Context(), x.ids[name])
		return err
	}
}

func move(name string, to pool.HostID, cold bool) command {
	return func(x *side) error {
		_, err := x.m.Move(x.t.Context(), x.ids[name], to, cold)
		return err
	}
}

func resize(name string, cores int64, cold bool) command {
	return func(x *side) error {
		_, err := x.m.Resize(x.t.Context(), berthage.Resize{Instance: x.ids[name], Resources: pool.Resources{pool.CPU: cores * pool.Core}, Cold: cold})
		return err
	}
}

// rebuild makes a missing instance anew.
func rebuild(name string) command {
	return func(x *side) error {
		i, err := x.m.Instance(x.ids[name])
		if err == nil {
			_, err = x.m.Rebuild(x.t.Context(), i.ID, i.Machine())
		}
		return err
	}
}

func cordon(host pool.HostID, on bool) command {
	return func(x *side) (err error) {
		if on {
			_, err = x.m.Cordon(x.t.Context(), host, "new disks")
		} else {
			_, err = x.m.Uncordon(x.t.Context(), host)
		}
		return err
	}
}

func drain(host pool.HostID, on, cold bool) command {
	return func(x *side) (err error) {
		if on {
			_, err = x.m.Drain(x.t.Context(), host, cold, "to be sold")
		} else {
			_, err = x.m.Undrain(x.t.Context(), host)
		}
		return err
	}
}

func removeHost(host pool.HostID) command {
	return func(x *side) error { return x.m.RemoveHost(x.t.Context(), host) }
}

func addHost(host pool.HostID) command {
	return func(x *side) error {
		_, err := x.m.AddHost(x.t.Context(), host)
		return err
	}
}

func cluster(name, project string, s pool.Spec, size int, bestEffort bool) command {
	return func(x *side) error {
		_, err := x.m.CreateCluster(x.t.Context(), berthage.CreateCluster{
			Token: name, Project: project, Name: name, Spec: s, Size: size, BestEffort: bestEffort, Stagger: 2,
		})
		return err
	}
}

func scale(id pool.ClusterID, size int, bestEffort bool) command {
	return func(x *side) error {
		_, err := x.m.ScaleCluster(x.t.Context(), berthage.ScaleCluster{Cluster: id, Size: size, BestEffort: bestEffort})
		return err
	}
}

func steer(id pool.ClusterID, verb string, release bool) command {
	return func(x *side) error {
		_, err := x.m.SteerCluster(x.t.Context(), berthage.SteerCluster{Cluster: id, Verb: verb, Release: release})
		return err
	}
}

func quota(project string, q pool.Resources) command {
	return func(x *side) error { return x.m.PutProject(x.t.Context(), pool.Project{Name: project, Quota: q}) }
}

func restart(x *side) error {
	x.again()
	return nil
}

// behind does something to an instance's machine behind its Manager's back.
func behind(name string, do func(*side, hypervisor.Ref) error) command {
	return func(x *side) error {
		i, err := x.m.Instance(x.ids[name])
		if err != nil {
			return err
		}
		tag := hypervisor.Tag{Ledger: x.m.Status().Ledger, Machine: i.Machine(), Launched: i.Launched}
		return do(x, hypervisor.Ref{Host: i.Place.Host, Tag: tag})
	}
}

func destroyed(x *side, r hypervisor.Ref) error { return x.driver.Destroy(x.t.Context(), r) }

// missing is true once it has been seen that an instance's machine is not there.
func missing(name string) func(*side) bool {
	return func(x *side) bool {
		i, err := x.m.Instance(x.ids[name])
		return err == nil && i.Status() == "missing"
	}
}

// The books of both sides are the same after every command that both can carry out, and after every one that is refused:
// by the books, by the quota, for want of room, for want of an ability that libvirt's test driver lacks, or by the
// hypervisor.
func TestScript(t *testing.T) {
	uri := daemon(t)
	t.Parallel()
	b := open(t, uri)
	began := time.Now()
	ok, no := b.accept, b.refuse

	// Launches, on one disk and on several.
	ok("launch one", launch("one", "shop", spec(1, 1, disk(2, "", 0)), ""))
	ok("launch one again", launch("one", "shop", spec(1, 1, disk(2, "", 0)), ""))
	no("launch another one", pool.ErrExists, launch("one", "shop", spec(2, 1), ""))
	ok("launch ssd", launch("ssd", "shop", spec(2, 2, disk(10, pool.SSD, 500), disk(60, pool.SSD, 0), disk(60, pool.SSD, 300)), ""))
	ok("launch mixed", launch("mixed", "shop", spec(1, 2, disk(4, "", 0), disk(20, pool.SSD, 100)), pool.Stopped))
	ok("launch flavored", launch("flavored", "shop", pool.Spec{Image: "tiny", Flavor: "small"}, ""))
	ok("launch in the east", launch("east", "shop", with(spec(1, 1), func(s *pool.Spec) { s.Constraints.Zones = []string{"east"} }), ""))
	ok("launch in rack 2", launch("racked", "shop", with(spec(1, 1), func(s *pool.Spec) { s.Constraints.Labels = map[string]string{"rack": "2"} }), ""))
	ok("launch on b", launch("onb", "shop", with(spec(6, 8), func(s *pool.Spec) { s.Constraints.Hosts = []pool.HostID{"lab/b"} }), ""))
	b.same("explain", func(x *side) string {
		e, err := x.m.Explain(berthage.Launch{Token: "e", Project: "shop", Name: "e", Spec: spec(3, 3, disk(50, pool.SSD, 0))})
		return fmt.Sprintf("%+v %v", e, err)
	})

	// Launches that are refused.
	no("launch nameless", pool.ErrInvalid, launch("No Name", "shop", spec(1, 1), ""))
	no("launch of nothing", pool.ErrNotFound, launch("none", "shop", with(spec(1, 1), func(s *pool.Spec) { s.Image = "none" }), ""))
	no("launch for nobody", pool.ErrNotFound, launch("none", "nobody", spec(1, 1), ""))
	no("launch on less than the image", pool.ErrInvalid, launch("little", "shop", spec(1, 1, pool.Disk{Size: pool.MiB}), ""))
	no("launch of too many cores for anybody", pool.ErrInvalid, launch("huge", "shop", spec(400, 1), ""))
	no("launch of too many cores", pool.ErrNoRoom, launch("huge", "shop", spec(32, 1), ""))
	no("launch on too large a disk", pool.ErrNoRoom, launch("huge", "shop", spec(1, 1, disk(2, "", 0), disk(101, pool.SSD, 0)), ""))
	no("launch on storage that nobody has", pool.ErrNoRoom, launch("nvme", "shop", spec(1, 1, disk(2, pool.NVMe, 0)), ""))
	no("launch of another driver's image", pool.ErrNoRoom, launch("other", "shop", with(spec(1, 1), func(s *pool.Spec) { s.Image = "elsewhere" }), ""))
	no("launch with a GPU", pool.ErrNoRoom, launch("gpu", "shop", with(spec(1, 1), func(s *pool.Spec) { s.Resources[pool.GPU] = 1 }), ""))
	no("launch with a mount", pool.ErrNoRoom, launch("mount", "shop", spec(1, 1, disk(2, "", 0), pool.Disk{Size: pool.GiB, Mount: "/srv"}), ""))
	no("launch over quota", pool.ErrOverQuota, launch("greedy", "tight", spec(5, 1), ""))
	ok("launch within quota", launch("modest", "tight", spec(3, 1), ""))
	no("launch over what is left of it", pool.ErrOverQuota, launch("second", "tight", spec(2, 1), ""))
	ok("launch of an image that is lost", launch("lost", "shop", with(spec(1, 1), func(s *pool.Spec) { s.Image = "lost" }), ""))
	no("start what has failed", pool.ErrWrongState, power("lost", pool.Running))
	ok("launch of a lost image where only one host will do", launch("lost2", "shop", with(spec(1, 1), func(s *pool.Spec) {
		s.Image, s.Constraints.Hosts = "lost", []pool.HostID{"lab/b"}
	}), ""))
	ok("delete what has failed", remove("lost"))

	// Power.
	ok("stop", power("one", pool.Stopped))
	ok("stop again", power("one", pool.Stopped))
	no("suspend what is stopped", pool.ErrWrongState, power("one", pool.Suspended))
	no("reboot what is stopped", pool.ErrWrongState, reboot("one", "r1"))
	ok("start", power("one", pool.Running))
	ok("suspend", power("one", pool.Suspended))
	no("reboot what is suspended", pool.ErrWrongState, reboot("one", "r1"))
	ok("resume", power("one", pool.Running))
	ok("reboot", reboot("one", "r1"))
	ok("reboot again, the same", reboot("one", "r1"))
	ok("reboot once more", reboot("one", "r2"))
	ok("suspend the one on SSDs", power("ssd", pool.Suspended))
	ok("stop what is suspended", power("ssd", pool.Stopped))
	ok("start the stopped one", power("mixed", pool.Running))
	no("power that there is not", pool.ErrInvalid, power("one", "paused"))
	no("stop nobody", pool.ErrNotFound, power("huge", pool.Stopped))

	// What libvirt's test driver cannot do.
	no("move", errors.ErrUnsupported, move("one", "", false))
	no("move cold to b", errors.ErrUnsupported, move("one", "lab/b", true))
	no("resize", errors.ErrUnsupported, resize("one", 2, false))
	no("resize cold", errors.ErrUnsupported, resize("mixed", 2, true))
	ok("resize to what it is", resize("one", 1, false))
	no("shelve", errors.ErrUnsupported, power("one", pool.Shelved))
	no("read the console", errors.ErrUnsupported, func(x *side) error {
		_, err := x.m.ConsoleLog(x.t.Context(), x.ids["one"], 100)
		return err
	})
	ok("drain a", drain("lab/a", true, false))
	no("launch in the east, which is being drained", pool.ErrNoRoom, launch("east2", "shop", with(spec(1, 1), func(s *pool.Spec) { s.Constraints.Zones = []string{"east"} }), ""))
	ok("drain a cold", drain("lab/a", true, true))
	ok("undrain a", drain("lab/a", false, false))

	// Hosts.
	ok("cordon c", cordon("lab/c", true))
	ok("launch where c is cordoned", launch("nearby", "shop", spec(1, 1), ""))
	no("launch in rack 2, which is cordoned", pool.ErrNoRoom, launch("racked2", "shop", with(spec(1, 1), func(s *pool.Spec) { s.Constraints.Labels = map[string]string{"rack": "2"} }), ""))
	no("remove c", pool.ErrInUse, removeHost("lab/c"))
	ok("uncordon c", cordon("lab/c", false))
	no("cordon nothing", pool.ErrNotFound, cordon("lab/none", true))
	no("add nothing", pool.ErrNotFound, addHost("lab/none"))
	no("say that a is off", pool.ErrWrongState, func(x *side) error {
		_, err := x.m.ConfirmOff(x.t.Context(), "lab/a", "seen")
		return err
	})

	// Clusters.
	const web = pool.ClusterID("shop/web")
	no("cluster of too many", pool.ErrNoRoom, cluster("web", "shop", spec(2, 2), 30, false))
	no("cluster over quota", pool.ErrOverQuota, cluster("many", "tight", spec(1, 1), 2, false))
	ok("cluster over quota, as far as it goes", cluster("some", "tight", spec(1, 1), 2, true))
	ok("cluster", cluster("web", "shop", spec(1, 1, disk(2, "", 0)), 4, false))
	no("cluster of that name", pool.ErrExists, cluster("web", "shop", spec(2, 1, disk(2, "", 0)), 4, false))
	ok("stop a member", power("web-1", pool.Stopped))
	ok("suspend the cluster", steer(web, berthage.Suspend, false))
	ok("suspend it again", steer(web, berthage.Suspend, false))
	ok("resume the cluster", steer(web, berthage.Resume, false))
	ok("shelve the cluster", steer(web, berthage.Suspend, true))
	no("scale what is to be shelved", pool.ErrWrongState, scale(web, 5, false))
	ok("start the cluster", steer(web, berthage.Start, false))
	ok("scale up", scale(web, 6, false))
	no("scale up too far", pool.ErrNoRoom, scale(web, 60, false))
	ok("scale up as far as it goes", scale(web, 60, true))
	ok("scale down", scale(web, 3, false))
	ok("stop the cluster", steer(web, berthage.Stop, false))
	ok("scale what is stopped", scale(web, 4, false))
	ok("start a member", power("web-0", pool.Running))
	ok("resume what ran", steer(web, berthage.Resume, false))
	no("steer it nowhere", pool.ErrInvalid, steer(web, "dance", false))
	no("steer nothing", pool.ErrNotFound, steer("shop/none", berthage.Stop, false))
	ok("cluster of a lost image", cluster("ghosts", "shop", with(spec(1, 1), func(s *pool.Spec) {
		s.Image, s.Constraints.Hosts = "lost", []pool.HostID{"lab/b"}
	}), 2, false))
	ok("start the ghosts", steer("shop/ghosts", berthage.Start, false))
	ok("delete the ghosts", steer("shop/ghosts", berthage.Destroy, false))

	// Machines that somebody else has touched.
	no("rebuild what is there", pool.ErrWrongState, rebuild("one"))
	b.step(step{name: "somebody destroys one", do: behind("one", destroyed), until: missing("one")})
	ok("rebuild one", rebuild("one"))
	b.step(step{name: "somebody stops one", do: behind("one", func(x *side, r hypervisor.Ref) error { return x.driver.Stop(x.t.Context(), r) }),
		until: func(x *side) bool { return x.power("one") == pool.Running }})
	b.step(step{name: "somebody destroys ssd", do: behind("ssd", destroyed), until: missing("ssd")})
	ok("delete what is missing", remove("ssd"))
	b.step(step{name: "somebody destroys a member", do: behind("web-0", destroyed), until: missing("web-0")})
	ok("stop the cluster with a missing member", steer(web, berthage.Stop, false))

	// Other Managers on the same ledgers.
	ok("restart", restart)
	ok("resume after the restart", steer(web, berthage.Resume, false))

	// The end.
	ok("delete one", remove("one"))
	ok("delete one again", remove("one"))
	no("start what is gone", pool.ErrNotFound, power("one", pool.Running))
	ok("delete the cluster", steer(web, berthage.Destroy, false))
	ok("delete the other cluster", steer("tight/some", berthage.Destroy, false))
	for _, name := range []string{"mixed", "flavored", "east", "racked", "onb", "modest", "lost2", "nearby"} {
		ok("delete "+name, remove(name))
	}
	ok("remove c", removeHost("lab/c"))
	ok("add c", addHost("lab/c"))
	b.nothingLeft()
	t.Logf("%d commands in %s", len(b.log), time.Since(began).Round(time.Millisecond))
}

// power is what the driver says of an instance's machine.
func (s *side) power(name string) pool.Power {
	i, err := s.m.Instance(s.ids[name])
	require.NoError(s.t, err)
	machines, err := s.driver.Machines(s.t.Context(), i.Place.Host)
	require.NoError(s.t, err)
	for _, m := range machines {
		if m.Machine == i.Machine() {
			return m.Power
		}
	}
	return pool.Absent
}

// nothingLeft ends a script: no instances, no machines but the stranger's, and that one is told.
func (b *both) nothingLeft() {
	b.t.Helper()
	for _, s := range b.sides {
		n := 0
		s.m.View(func(st *pool.State) { n = st.InstanceCount() })
		require.Zero(b.t, n, s.text())
		require.Len(b.t, s.machines(), 1, s.text())
		require.Eventually(b.t, func() bool { return len(s.m.Unknown()) == 1 }, 10*time.Second, 10*time.Millisecond, s.name)
	}
	b.same("the stranger", func(x *side) string {
		u := x.m.Unknown()[0]
		return fmt.Sprintf("%s %s on %s, %s %v: %s", u.Native, u.Name, u.Host, u.Power, u.Resources, u.Why)
	})
}
