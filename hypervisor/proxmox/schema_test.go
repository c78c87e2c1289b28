package proxmox_test

import (
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
)

// official returns the judgement of requests by the official description of the API, or nil and a loud word where it is
// not at hand.
func official(t *testing.T) func(method, path string, params map[string]string) error {
	t.Helper()
	dir := os.Getenv("BERTHAGE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	f, err := os.Open(filepath.Join(dir, "pve-api-subset.json.gz"))
	if err != nil {
		fmt.Printf("NOT RUN: %s: requests are judged by the tables of pvetest only; BERTHAGE_DATA names no directory with pve-api-subset.json.gz\n", t.Name())
		t.Log("requests are judged by the tables of pvetest only")
		return nil
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	judge, err := pvetest.Official(z)
	require.NoError(t, err)
	return judge
}
