package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// allocated has what the tests look at of gpu -json.
type allocated struct {
	GPUs, Hosts, Seeds int
	Workload           string
	Policies           []struct {
		Policy string
		At100  float64 `json:"allocated_at_100"`
		At130  float64 `json:"allocated_at_130"`
		Each   []float64
		Micros float64 `json:"microseconds_per_pod"`
	}
}

func gpus(t *testing.T, args ...string) (r allocated) {
	t.Helper()
	stdout, stderr, code := berthsim(t, append([]string{"gpu", "-json"}, args...)...)
	require.Zero(t, code, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &r), stdout)
	for _, p := range r.Policies {
		require.True(t, p.At100 > 0 && p.At100 <= p.At130 && p.At130 <= 100, "%s: %v, %v", p.Policy, p.At100, p.At130)
	}
	return r
}

func TestGPUOnTheSmallSet(t *testing.T) {
	t.Parallel()
	plot := filepath.Join(t.TempDir(), "allocation.svg")
	args := []string{"-nodes", "berthsim/testdata/gpu_nodes.csv", "-pods", "berthsim/testdata/gpu_pods.csv", "-seeds", "10"}
	r := gpus(t, append(args, "-plot", plot)...)
	require.Equal(t, 30, r.Hosts)
	require.Equal(t, 128, r.GPUs)
	require.Equal(t, []string{"fgd", "best-fit", "first-fit"}, []string{r.Policies[0].Policy, r.Policies[1].Policy, r.Policies[2].Policy})
	for _, p := range r.Policies[1:] { // so few hosts are half full before the largest pods are known
		require.GreaterOrEqual(t, r.Policies[0].At130, p.At130, "fgd loses to %s in the end", p.Policy)
	}
	svg, err := os.ReadFile(plot)
	require.NoError(t, err)
	require.Contains(t, string(svg), "best-fit")

	again := gpus(t, args...)
	for i := range r.Policies {
		require.Equal(t, r.Policies[i].At130, again.Policies[i].At130, "the same seeds, the same result")
	}
	stdout, stderr, code := berthsim(t, append([]string{"gpu", "-seed", "7", "-policy", "default"}, args...)...)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "30 hosts with 128 GPUs")
	require.Contains(t, stdout, "learnt from what has been placed")
}

// Against the authors of FGD on their own traces: what they report for it is 95.23, 97.09 and 86.64.
func TestGPUOnTheOpenbTraces(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("BERTHAGE_TRACES")
	if dir == "" {
		t.Skip("BERTHAGE_TRACES names no directory with openb_*.csv.gz: only the small set that is made up was run")
	}
	for list, least := range map[string]float64{"default": 95.2, "multigpu50": 97.0, "gpushare100": 86.0} {
		t.Run(list, func(t *testing.T) {
			t.Parallel()
			r := gpus(t, "-nodes", filepath.Join(dir, "openb_node_list_gpu_node.csv.gz"), "-pods", filepath.Join(dir, "openb_pod_list_"+list+".csv.gz"))
			for _, p := range r.Policies {
				t.Logf("%s: %s %.2f %% at 100 %%, %.2f %% at 130 %%, %.0f µs per pod", list, p.Policy, p.At100, p.At130, p.Micros)
			}
			require.GreaterOrEqual(t, r.Policies[0].At100, least)
			if list == "default" {
				require.GreaterOrEqual(t, r.Policies[0].At100, r.Policies[1].At100+2, "ahead of best-fit")
			}
		})
	}
}
