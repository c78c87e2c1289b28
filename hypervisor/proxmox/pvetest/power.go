package pvetest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// powerTask is a task on a guest, which it looks for only then: a request about one that is not there is answered with
// a task too.
func (c *call) powerTask(kind string, long time.Duration, do func(v *vm, t *task) error) string {
	node, id := c.params["node"], c.vmid()
	return c.workFor(long, node, kind, strconv.Itoa(id), func(t *task) error {
		v := c.s.vms[id]
		if v == nil || v.node != node || v.container {
			return no("Configuration file 'nodes/%s/qemu-server/%d.conf' does not exist", node, id)
		}
		return do(v, t)
	})
}

// guestTask is a task on a guest that was there when it was asked for, and may have gone meanwhile.
func (c *call) guestTask(kind string, v *vm, do func(t *task) error) string {
	node := v.node
	return c.work(node, kind, strconv.Itoa(v.id), func(t *task) error {
		if c.s.vms[v.id] != v || v.node != node {
			return no("Configuration file 'nodes/%s/qemu-server/%d.conf' does not exist", node, v.id)
		}
		return do(t)
	})
}

func (s *Server) start(c *call) (any, error) {
	return c.powerTask("qmstart", s.cfg.TaskTime, func(v *vm, t *task) error {
		switch l := v.conf["lock"]; {
		case v.template():
			return no("you can't start a vm if it's a template")
		case l != "" && l != "suspended":
			return v.locked()
		case v.running:
			return no("VM %d already running", v.id)
		}
		if most := s.node(v.node).CPUs; v.cpus() > most {
			return no("MAX %d vcpus allowed per VM on this node", most)
		}
		if custom := v.conf["cicustom"]; custom != "" {
			return no("volume '%s' does not exist", custom[strings.IndexByte(custom, '=')+1:])
		}
		for _, k := range v.drives() {
			if s.volumes[s.key(v.node, volid(v.conf[k]))] == nil {
				return no("volume '%s' does not exist", volid(v.conf[k]))
			}
			if strings.Contains(v.conf[k], "cloudinit") {
				t.say("generating cloud-init ISO")
			}
		}
		s.forget(v)
		v.running, v.paused, v.started = true, false, time.Now()
		v.runs++
		for _, k := range v.drives() {
			if vol := s.volumes[s.key(v.node, volid(v.conf[k]))]; !cdrom(v.conf[k]) {
				vol.content += fmt.Sprintf("; run %d", v.runs)
			}
		}
		return nil
	}), nil
}

// forget removes the memory of a guest that was written to a disk.
func (s *Server) forget(v *vm) {
	if id := v.conf["vmstate"]; id != "" {
		delete(s.volumes, s.key(v.node, id))
	}
	delete(v.conf, "vmstate")
	delete(v.conf, "lock")
}

// off ends a guest's run, and lets what was pending take effect.
func (s *Server) off(v *vm) {
	v.running, v.paused = false, false
	pending := v.pending
	v.pending = nil
	for k, x := range pending {
		s.set(v, k, x, nil)
	}
}

func (s *Server) stop(c *call) (any, error) {
	return c.powerTask("qmstop", s.cfg.TaskTime, func(v *vm, _ *task) error {
		if err := v.locked(); err != nil {
			return err
		}
		if v.running {
			s.off(v)
		}
		return nil
	}), nil
}

// grace is how long the task waits for a guest.
func (c *call) grace() time.Duration {
	v := c.s.vms[c.vmid()]
	if v == nil || !v.running || !v.deaf {
		return c.s.cfg.TaskTime
	}
	n := 60
	if t, err := strconv.Atoi(c.params["timeout"]); err == nil {
		n = t
	}
	return time.Duration(n) * time.Second
}

func (s *Server) shutdown(c *call) (any, error) {
	force := c.params["forceStop"] == "1"
	return c.powerTask("qmshutdown", c.grace(), func(v *vm, t *task) error {
		if err := v.locked(); err != nil {
			return err
		}
		if !v.running {
			return nil
		}
		if v.deaf || v.paused {
			if strings.HasPrefix(v.conf["agent"], "1") && !v.agent {
				t.say("QEMU Guest Agent is not running - VM %d qga command 'guest-ping' failed - got timeout", v.id)
			}
			if !force {
				return no("VM quit/powerdown failed - got timeout")
			}
			t.say("VM still running - terminating now with SIGTERM")
		}
		s.off(v)
		return nil
	}), nil
}

// onRunning is a request about a guest that has to run.
func (c *call) onRunning(kind string, do func(v *vm) error) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	if !v.running {
		return nil, no("VM %d not running", v.id)
	}
	return c.powerTask(kind, c.s.cfg.TaskTime, func(v *vm, _ *task) error {
		if err := v.locked(); err != nil {
			return err
		}
		if !v.running {
			return no("VM %d not running", v.id)
		}
		return do(v)
	}), nil
}

// suspend stops a guest's processors, or writes its memory to a disk and ends it.
func (s *Server) suspend(c *call) (any, error) {
	if c.params["todisk"] == "1" {
		v, err := c.vm()
		if err != nil {
			return nil, err
		}
		if err := v.locked(); err != nil {
			return nil, err
		}
		if !v.running {
			return nil, no("VM %d not running", v.id)
		}
		v.conf["lock"] = "suspending"
		upid := c.guestTask("qmsuspend", v, func(t *task) error {
			delete(v.conf, "lock")
			if !v.running {
				return no("VM %d not running", v.id)
			}
			name, _, _ := strings.Cut(volid(v.conf["scsi0"]), ":")
			v.conf["vmstate"] = s.newVolume(v, name, "raw", "state-suspend", v.memory(), t)
			s.off(v)
			v.conf["lock"] = "suspended"
			return nil
		})
		s.tasks[upid].cleanup = func() { delete(v.conf, "lock") }
		return upid, nil
	}
	return c.onRunning("qmpause", func(v *vm) error { v.paused = true; return nil })
}

func (s *Server) resume(c *call) (any, error) {
	return c.onRunning("qmresume", func(v *vm) error { v.paused = false; return nil })
}

func (s *Server) reset(c *call) (any, error) {
	return c.onRunning("qmreset", func(v *vm) error { v.started = time.Now(); return nil })
}

func (s *Server) reboot(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	if !v.running {
		return nil, no("VM %d not running", v.id)
	}
	return c.powerTask("qmreboot", c.grace(), func(v *vm, _ *task) error {
		if err := v.locked(); err != nil {
			return err
		}
		if v.deaf || v.paused {
			return no("VM quit/powerdown failed - got timeout")
		}
		s.off(v)
		v.running, v.started = true, time.Now()
		v.runs++
		return nil
	}), nil
}

// askAgent is a request to the agent in the guest.
func (s *Server) askAgent(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	switch {
	case !strings.HasPrefix(v.conf["agent"], "1"):
		return nil, no("No QEMU guest agent configured")
	case !v.running || !v.agent:
		return nil, no("QEMU guest agent is not running")
	}
	address := func(kind, ip string) map[string]any {
		return map[string]any{"ip-address-type": kind, "ip-address": ip, "prefix": 24}
	}
	return map[string]any{"result": []any{
		map[string]any{"name": "lo", "hardware-address": "00:00:00:00:00:00", "ip-addresses": []any{address("ipv4", "127.0.0.1")}},
		map[string]any{"name": "eth0", "hardware-address": "02:00:00:00:00:01", "ip-addresses": []any{
			address("ipv4", fmt.Sprintf("192.0.2.%d", v.id%250+1)), address("ipv6", "fe80::1"),
		}},
	}}, nil
}
