package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// pod is what a pod asks for.
type pod struct {
	cpu, mem int64  // millicores, bytes
	share    int64  // thousandths of GPUs
	models   string // that it may have, with '|'; empty: any
}

// request asks the scheduler for it. The model of a host's GPUs is its zone, as a request may name several zones.
func (p pod) request() scheduler.Request {
	req := scheduler.Request{
		Spec:  pool.Spec{Image: simImage, Resources: pool.Resources{pool.CPU: p.cpu, pool.Memory: p.mem, pool.GPUShare: p.share}},
		Image: pool.Image{Name: simImage, Sources: map[string]string{simDriver: simImage}}, Project: "trace",
	}
	if p.models != "" {
		req.Spec.Constraints.Zones = strings.Split(p.models, "|")
	}
	return req
}

// table is a CSV file with named columns, compressed or not.
type table struct {
	column map[string]int
	rows   [][]string
}

func readTable(path string, need ...string) (*table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := unpacked(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t, err := decodeTable(r, need...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func decodeTable(r io.Reader, need ...string) (*table, error) {
	rows := csv.NewReader(r)
	rows.Comment = '#'
	all, err := rows.ReadAll()
	switch {
	case err != nil:
		return nil, err
	case len(all) < 2:
		return nil, errors.New("no line of column names, or nothing below it")
	}
	t := &table{column: make(map[string]int), rows: all[1:]}
	for i, name := range all[0] {
		t.column[strings.TrimSpace(name)] = i
	}
	for _, name := range need {
		if _, ok := t.column[name]; !ok {
			return nil, fmt.Errorf("no column %q; there are %s", name, strings.Join(all[0], ", "))
		}
	}
	return t, nil
}

func (t *table) text(row []string, name string) string {
	if i, ok := t.column[name]; ok {
		return strings.TrimSpace(row[i])
	}
	return ""
}

// numbers reads integers from 0 to most.
func (t *table) numbers(row []string, most int64, names ...string) ([]int64, error) {
	out := make([]int64, len(names))
	for i, name := range names {
		n, err := strconv.ParseInt(t.text(row, name), 10, 64)
		if err != nil || n < 0 || n > most {
			return nil, fmt.Errorf("%s: %q is not a whole number from 0 to %d", name, t.text(row, name), most)
		}
		out[i] = n
	}
	return out, nil
}

// mostOfAny bounds what a file may say, so that no sum of it overflows.
const mostOfAny = 1 << 32

// readGPUHosts reads hosts, every GPU of which can be shared.
func readGPUHosts(path string) ([]pool.Host, error) {
	t, err := readTable(path, "cpu_milli", "memory_mib", "gpu")
	if err != nil {
		return nil, fmt.Errorf("-nodes: %w", err)
	}
	var out []pool.Host
	for i, row := range t.rows {
		n, err := t.numbers(row, mostOfAny, "cpu_milli", "memory_mib", "gpu")
		if err == nil && n[2] > 1024 {
			err = errors.New("gpu: more than 1024 on one host")
		}
		if err != nil {
			return nil, fmt.Errorf("-nodes: %s: host %d: %w", path, i+1, err)
		}
		h := pool.Host{
			ID: pool.NewHostID(simDriver, fmt.Sprintf("host-%06d", i)), Zone: t.text(row, "model"), Conditions: pool.Ready,
			Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: n[0]}, pool.Memory: {Total: n[1] * pool.MiB}},
		}
		for k := range n[2] {
			h.Devices = append(h.Devices, pool.Device{ID: fmt.Sprintf("gpu%d", k), Class: pool.GPUShare, Inventory: pool.Inventory{Total: 1000}})
		}
		if h, err = h.Normalize(); err != nil {
			return nil, fmt.Errorf("-nodes: %s: host %d: %w", path, i+1, err)
		}
		out = append(out, h)
	}
	return out, nil
}

// readGPUPods reads what pods ask for.
func readGPUPods(path string) ([]pod, error) {
	t, err := readTable(path, "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
	if err != nil {
		return nil, fmt.Errorf("-pods: %w", err)
	}
	var out []pod
	for i, row := range t.rows {
		n, err := t.numbers(row, mostOfAny, "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
		if err == nil && (n[2] > 1024 || n[3] > 1000 || n[2] > 1 && n[3] != 1000) {
			err = errors.New("num_gpu, gpu_milli: at most 1024 whole GPUs, or one of up to 1000 thousandths")
		}
		if err != nil {
			return nil, fmt.Errorf("-pods: %s: pod %d: %w", path, i+1, err)
		}
		out = append(out, pod{cpu: n[0], mem: n[1] * pool.MiB, share: n[2] * n[3], models: t.text(row, "gpu_spec")})
	}
	return out, nil
}

// arrivals is the order in which pods come: all of the list, shuffled, then any of them again and again, until they
// ask for so many thousandths of GPUs.
func arrivals(list []pod, until int64, seed uint64) []pod {
	r := rand.New(rand.NewPCG(seed, 0))
	order := slices.Clone(list)
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	asked := int64(0)
	for i := 0; asked < until; i++ {
		if i == len(order) {
			order = append(order, list[r.IntN(len(list))])
		}
		if asked += order[i].share; asked >= until {
			return order[:i+1]
		}
	}
	return order
}

// plainFleet is a baseline without the SDK: the first host of the list that has room, and there the fullest GPU.
type plainFleet []plainGPUHost

type plainGPUHost struct {
	cpu, mem int64
	model    string
	gpus     []int64
}

func newPlainFleet(hosts []pool.Host) plainFleet {
	var f plainFleet
	for i := range hosts {
		h := plainGPUHost{cpu: hosts[i].Inventory[pool.CPU].Total, mem: hosts[i].Inventory[pool.Memory].Total, model: hosts[i].Zone}
		for range hosts[i].Devices {
			h.gpus = append(h.gpus, 1000)
		}
		f = append(f, h)
	}
	return f
}

func (f plainFleet) place(p pod) (bool, error) {
	for i := range f {
		if h := &f[i]; h.cpu >= p.cpu && h.mem >= p.mem && (p.models == "" || slices.Contains(strings.Split(p.models, "|"), h.model)) && h.take(p.share) {
			h.cpu, h.mem = h.cpu-p.cpu, h.mem-p.mem
			return true, nil
		}
	}
	return false, nil
}

// take takes whole GPUs, or a part of one.
func (h *plainGPUHost) take(share int64) bool {
	free := 0
	for _, g := range h.gpus {
		if g == 1000 {
			free++
		}
	}
	if share > 1000 && int64(free) < share/1000 {
		return false
	}
	for share > 0 {
		piece, best := min(share, 1000), -1
		for i, g := range h.gpus {
			if g >= piece && (best < 0 || g < h.gpus[best]) {
				best = i
			}
		}
		if best < 0 {
			return false
		}
		h.gpus[best] -= piece
		share -= piece
	}
	return true
}
