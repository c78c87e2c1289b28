package main

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/berthage/berthage/pool"
)

const traceHelp = `A trace is a CSV file, compressed by gzip or not, with a line of column names:
  arrive_s, end_s  seconds; an end of -1 is none
  censored, batch  whether the end is not known; VMs of one batch came together
  cpu, mem_gib     cores and GiB, decimals allowed
Columns may stand in any order, and others are passed over. A public one with 337,133 VMs of Azure is made from
github.com/huaweicloud/trace_generation_rnn (resources/traces, CC-BY 4.0); examples/berthsim/testdata has a small one.
`

// vm is a virtual machine of a trace.
type vm struct {
	arrive, end float64 // seconds; end is -1 if it has none
	censored    bool    // its end lies behind the end of the trace
	batch       string  // VMs that one tenant asked for together
	size        size
}

// size is what a VM takes, or a host has.
type size struct {
	cpu int64 // millicores
	mem int64 // bytes
}

func (s size) resources() pool.Resources {
	return pool.Resources{pool.CPU: s.cpu, pool.Memory: s.mem}
}

func (s size) fits(host size) bool { return s.cpu <= host.cpu && s.mem <= host.mem }

// String is for people: "2 cores, 3.5 GiB".
func (s size) String() string { return pool.CPU.Format(s.cpu) + ", " + pool.FormatBytes(s.mem) }

// parseSize reads cores and GiB.
func parseSize(cpu, gib string) (size, error) {
	c, err := amount(cpu, float64(pool.Core), "cores")
	if err != nil {
		return size{}, err
	}
	m, err := amount(gib, float64(pool.GiB), "GiB")
	return size{c, m}, err
}

// amount reads a decimal above zero and multiplies it, rounded up.
func amount(s string, unit float64, name string) (int64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(v > 0) || v*unit > 1<<53 {
		return 0, fmt.Errorf("%q is not a number of %s above zero", s, name)
	}
	return int64(math.Ceil(v*unit - 1e-6)), nil
}

// readTrace reads a trace, in the order of arrival. Columns that are missing leave their fields zero, an end
// at -1; those in need must be there.
func readTrace(path string, need ...string) ([]vm, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the trace: %w", err)
	}
	defer f.Close()
	vms, err := decodeTrace(f, need...)
	if err != nil {
		return nil, fmt.Errorf("trace %s: %w", path, err)
	}
	return vms, nil
}

// unpacked returns what is in a file that may be compressed by gzip.
func unpacked(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(r)
	if magic, _ := buffered.Peek(2); string(magic) == "\x1f\x8b" {
		return gzip.NewReader(buffered)
	}
	return buffered, nil
}

func decodeTrace(r io.Reader, need ...string) ([]vm, error) {
	r, err := unpacked(r)
	if err != nil {
		return nil, err
	}
	rows := csv.NewReader(r)
	rows.ReuseRecord, rows.Comment = true, '#'
	head, err := rows.Read()
	if err != nil {
		return nil, fmt.Errorf("no line of column names: %w", err)
	}
	column := make(map[string]int)
	for i, name := range head {
		column[strings.TrimSpace(name)] = i
	}
	for _, name := range need {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("no column %q; there are %s", name, strings.Join(head, ", "))
		}
	}
	var vms []vm
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		v, err := decodeVM(row, column)
		if err != nil {
			line, _ := rows.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		vms = append(vms, v)
	}
	if len(vms) == 0 {
		return nil, errors.New("no VMs in it")
	}
	slices.SortStableFunc(vms, func(a, b vm) int { return cmp.Compare(a.arrive, b.arrive) })
	return vms, nil
}

func decodeVM(row []string, column map[string]int) (vm, error) {
	v := vm{end: -1}
	field := func(name string) (string, bool) {
		i, ok := column[name]
		if !ok {
			return "", false
		}
		return strings.TrimSpace(row[i]), true
	}
	for name, to := range map[string]*float64{"arrive_s": &v.arrive, "end_s": &v.end} {
		if s, ok := field(name); ok {
			f, err := strconv.ParseFloat(s, 64)
			if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
				return v, fmt.Errorf("%s: %q is not a number of seconds", name, s)
			}
			*to = f
		}
	}
	if v.end >= 0 && v.end < v.arrive {
		return v, fmt.Errorf("end_s: %g is before arrive_s, %g", v.end, v.arrive)
	}
	if s, ok := field("censored"); ok {
		v.censored = s != "" && s != "0" && s != "false"
	}
	if s, ok := field("batch"); ok {
		v.batch = strings.Clone(s)
	}
	cpu, hasCPU := field("cpu")
	mem, hasMem := field("mem_gib")
	if !hasCPU || !hasMem {
		return v, nil
	}
	var err error
	v.size, err = parseSize(cpu, mem)
	return v, err
}

// sample takes n of the VMs at random, each with the same probability, in the order of arrival; zero are all.
func sample(vms []vm, n int, seed uint64) ([]vm, error) {
	if n == 0 || n == len(vms) {
		return vms, nil
	}
	if n < 0 || n > len(vms) {
		return nil, fmt.Errorf("-sample %d: the trace has %d VMs; 0 takes all", n, len(vms))
	}
	r := rand.New(rand.NewPCG(seed, 0))
	index := make([]int, len(vms))
	for i := range index {
		index[i] = i
	}
	for i := range n {
		j := i + r.IntN(len(index)-i)
		index[i], index[j] = index[j], index[i]
	}
	slices.Sort(index[:n])
	out := make([]vm, n)
	for i, j := range index[:n] {
		out[i] = vms[j]
	}
	return out, nil
}
