package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/nomad/state"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/scheduler"

	"github.com/berthage/berthage/internal/peerbench"
	"github.com/berthage/berthage/pool"
)

// nomad is the service scheduler of Nomad on its in-memory state store, as its own harness runs it.
type nomad struct {
	h     *scheduler.Harness
	names map[string]string // of hosts, by id
}

// harnessT is what the harness is told failures through.
type harnessT struct {
	testing.TB // the interface has a method that cannot be written elsewhere
}

func (harnessT) Logf(string, ...any)               {}
func (harnessT) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (harnessT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

const filler = "filler"

func openNomad(hosts []peerbench.Host) (peerbench.System, error) {
	if err := os.Setenv("NOMAD_TEST_LOG_LEVEL", "OFF"); err != nil {
		return nil, err
	}
	n := &nomad{h: scheduler.NewHarness(harnessT{}), names: make(map[string]string, len(hosts))}
	job := serviceJob(peerbench.Request{Name: filler, Count: len(hosts)})
	if err := n.h.State.UpsertJob(structs.MsgTypeTestSetup, n.h.NextIndex(), nil, job); err != nil {
		return nil, err
	}
	var fill []*structs.Allocation
	for i := range hosts {
		h := &hosts[i]
		node := nomadNode(h)
		n.names[node.ID] = h.Name
		if err := n.h.State.UpsertNode(structs.MsgTypeTestSetup, n.h.NextIndex(), node); err != nil {
			return nil, err
		}
		if h.Taken != (peerbench.Size{}) {
			fill = append(fill, fillerOn(node.ID, job, h.Taken, len(fill)))
		}
	}
	return n, n.h.State.UpsertAllocs(structs.MsgTypeTestSetup, n.h.NextIndex(), fill)
}

func nomadNode(h *peerbench.Host) *structs.Node {
	node := &structs.Node{
		ID: uuid.Generate(), SecretID: uuid.Generate(), Datacenter: "dc1", NodePool: structs.NodePoolDefault, Name: h.Name,
		Attributes: map[string]string{"kernel.name": "linux", "driver.qemu": "1", "nomad.version": "1.6.2"},
		Meta:       map[string]string{"zone": h.Zone},
		Drivers:    map[string]*structs.DriverInfo{"qemu": {Detected: true, Healthy: true}},
		NodeResources: &structs.NodeResources{
			Cpu:      structs.NodeCpuResources{CpuShares: h.Total.CPU},
			Memory:   structs.NodeMemoryResources{MemoryMB: h.Total.Memory / pool.MiB},
			Disk:     structs.NodeDiskResources{DiskMB: h.Total.Disk / pool.MiB},
			Networks: []*structs.NetworkResource{{Mode: "host", Device: "eth0", CIDR: "192.0.2.1/32", MBits: 10_000}},
		},
		ReservedResources: &structs.NodeReservedResources{},
		Status:            structs.NodeStatusReady, SchedulingEligibility: structs.NodeSchedulingEligible,
	}
	if err := node.ComputeClass(); err != nil {
		panic(err) // of a node without anything that cannot be hashed
	}
	return node
}

func fillerOn(node string, job *structs.Job, taken peerbench.Size, n int) *structs.Allocation {
	return &structs.Allocation{
		ID: uuid.Generate(), EvalID: uuid.Generate(), Namespace: structs.DefaultNamespace, NodeID: node,
		Name: structs.AllocName(job.ID, "group", uint(n)), JobID: job.ID, Job: job, TaskGroup: "group",
		AllocatedResources: &structs.AllocatedResources{
			Tasks: map[string]*structs.AllocatedTaskResources{"vm": {
				Cpu: structs.AllocatedCpuResources{CpuShares: taken.CPU}, Memory: structs.AllocatedMemoryResources{MemoryMB: taken.Memory / pool.MiB},
			}},
			Shared: structs.AllocatedSharedResources{DiskMB: taken.Disk / pool.MiB},
		},
		DesiredStatus: structs.AllocDesiredStatusRun, ClientStatus: structs.AllocClientStatusRunning,
	}
}

func serviceJob(r peerbench.Request) *structs.Job {
	job := &structs.Job{
		ID: r.Name, Name: r.Name, Region: "global", Namespace: structs.DefaultNamespace, Type: structs.JobTypeService, Priority: 50,
		Datacenters: []string{"dc1"}, NodePool: structs.NodePoolDefault, Status: structs.JobStatusPending,
		TaskGroups: []*structs.TaskGroup{{
			Name: "group", Count: r.Count,
			EphemeralDisk:    &structs.EphemeralDisk{SizeMB: int(r.Each.Disk / pool.MiB)},
			RestartPolicy:    structs.NewRestartPolicy(structs.JobTypeService),
			ReschedulePolicy: &structs.ReschedulePolicy{Attempts: 2, Interval: 10 * time.Minute, Delay: 5 * time.Second, DelayFunction: "constant"},
			Tasks: []*structs.Task{{
				Name: "vm", Driver: "qemu", Config: map[string]any{"image_path": "debian-12.qcow2"},
				Resources: &structs.Resources{CPU: int(r.Each.CPU), MemoryMB: int(r.Each.Memory / pool.MiB)},
				LogConfig: structs.DefaultLogConfig(),
			}},
		}},
	}
	return job
}

func (n *nomad) Ready(reqs []peerbench.Request) (func() error, error) {
	jobs, evals := make([]*structs.Job, len(reqs)), make([]*structs.Evaluation, len(reqs))
	for i, r := range reqs {
		jobs[i] = serviceJob(r)
		evals[i] = &structs.Evaluation{
			ID: uuid.Generate(), Namespace: structs.DefaultNamespace, Priority: jobs[i].Priority, Type: jobs[i].Type,
			TriggeredBy: structs.EvalTriggerJobRegister, JobID: jobs[i].ID, Status: structs.EvalStatusPending,
		}
	}
	return func() error {
		h := n.h
		for i := range jobs {
			if err := h.State.UpsertJob(structs.MsgTypeTestSetup, h.NextIndex(), nil, jobs[i]); err != nil {
				return err
			}
			if err := h.State.UpsertEvals(structs.MsgTypeTestSetup, h.NextIndex(), evals[i:i+1]); err != nil {
				return err
			}
			h.Plans, h.Evals, h.CreateEvals = nil, nil, nil
			if err := h.Process(scheduler.NewServiceScheduler, evals[i]); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (n *nomad) Placed() ([]peerbench.Placed, error) {
	iter, err := n.h.State.Allocs(nil, state.SortDefault)
	if err != nil {
		return nil, err
	}
	var out []peerbench.Placed
	for x := iter.Next(); x != nil; x = iter.Next() {
		a := x.(*structs.Allocation)
		if !strings.HasPrefix(a.JobID, filler) {
			out = append(out, peerbench.Placed{Request: a.JobID, Host: n.names[a.NodeID], Pool: -1})
		}
	}
	return out, nil
}

// Close lets go of the store, which a goroutine of the harness for each evaluation would keep for ever.
func (n *nomad) Close() { *n.h = scheduler.Harness{} }
