package proxmox_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/pool"
)

func someMark() proxmox.Mark {
	return proxmox.Mark{VMID: 101, Tag: hypervisor.Tag{Ledger: "a ledger", Machine: "i0-0", Launched: 7}, Revision: 9}
}

// A tag comes back from its description exactly, whatever people have written beside it and however lines end.
func TestTagsComeBack(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	letters := []rune("abcXYZ019 <>&\"'\\{}%#:;äöü機🚢-_.")
	for range 2000 {
		var ledger strings.Builder
		for range 1 + r.IntN(40) {
			ledger.WriteRune(letters[r.IntN(len(letters))])
		}
		m := proxmox.Mark{
			VMID:     100 + r.IntN(999_999_900),
			Tag:      hypervisor.Tag{Ledger: ledger.String(), Machine: pool.NewInstanceID("l", "p", ledger.String()).Machine(r.IntN(math.MaxInt32)), Launched: pool.Revision(r.Int64())},
			Revision: r.Int64(),
		}
		text, err := m.Describe()
		require.NoError(t, err)
		require.NotContains(t, strings.TrimFunc(text, func(r rune) bool { return r < 0x7f }), "\u00e4")
		for _, r := range text {
			require.Less(t, r, rune(0x7f), "the description is ASCII")
		}
		for _, written := range []string{text, text + "\n", "# Notes\n\nby hand\n" + text + "\nmore\n", strings.ReplaceAll(text, "\n", "\r\n")} {
			got, ok := proxmox.ReadMark(written, m.VMID)
			require.True(t, ok, "%q", written)
			require.Equal(t, m, got)
		}
		_, ok := proxmox.ReadMark(text, m.VMID+1)
		require.False(t, ok, "a copy is not the machine")
	}
}

func TestNoTags(t *testing.T) {
	t.Parallel()
	good, err := someMark().Describe()
	require.NoError(t, err)
	line := good[strings.Index(good, "berthage-v1"):]
	for name, text := range map[string]string{
		"nothing":             "",
		"other text":          "a description",
		"two":                 line + "\n" + line,
		"cut":                 line[:len(line)-3],
		"something behind it": line + " x",
		"in a quotation":      "> " + line,
		"a newer version":     strings.Replace(line, "berthage-v1", "berthage-v2", 1),
		"an unknown field":    strings.Replace(line, `"revision"`, `"more":1,"revision"`, 1),
		"no ledger":           strings.Replace(line, "a ledger", "", 1),
		"a bad machine":       strings.Replace(line, "i0-0", "../x", 1),
		"a negative launch":   strings.Replace(line, `"launched":7`, `"launched":-7`, 1),
		"an unknown stage":    strings.Replace(line, "}", `,"stage":7}`, 1),
		"too long":            strings.Replace(line, "a ledger", strings.Repeat("x", 5000), 1),
	} {
		_, ok := proxmox.ReadMark(text, 101)
		require.False(t, ok, name)
	}
	_, ok := proxmox.ReadMark(line, 101)
	require.True(t, ok)
}

// What people have written beside a tag stays when the tag changes.
func TestReplaceTag(t *testing.T) {
	t.Parallel()
	m := someMark()
	text, err := m.Describe()
	require.NoError(t, err)
	m.Revision = 12
	for _, notes := range []string{"", "our notes\nof two lines\n"} {
		got, err := proxmox.ReplaceMark(text+"\n"+notes, m)
		require.NoError(t, err)
		read, ok := proxmox.ReadMark(got, 101)
		require.True(t, ok)
		require.Equal(t, m, read)
		require.Contains(t, got+"\n", notes)
	}
	got, err := proxmox.ReplaceMark("without", m)
	require.NoError(t, err)
	_, ok := proxmox.ReadMark(got, 101)
	require.True(t, ok)
}

// Whatever stands in a description is read without harm, and what is taken for a tag can be written and read again.
func FuzzReadMark(f *testing.F) {
	good, err := someMark().Describe()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", good, good + "\n", "berthage-v1 {}", "berthage-v1 null", "berthage-v1 {\"vmid\":101}", good + good} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, description string) {
		m, ok := proxmox.ReadMark(description, 101)
		if !ok {
			return
		}
		text, err := m.Describe()
		if err != nil {
			t.Fatal(err)
		}
		if again, ok := proxmox.ReadMark(text, 101); !ok || again != m {
			t.Fatalf("%+v was written as %q and read as %+v", m, text, again)
		}
	})
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"1": 1, "4M": 4 << 20, "1G": 1 << 30, "1.5G": 3 << 29, "2T": 2 << 40, "528K": 528 << 10,
	} {
		got, ok := proxmox.ParseSize(text)
		require.True(t, ok, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "G", "-1G", "1P", "9223372036854775807T", "1e300G", "NaN", "x"} {
		_, ok := proxmox.ParseSize(text)
		require.False(t, ok, text)
	}
}

// The root disk is the one that the guest boots from; ours follow by their serials, not by their places.
func TestOrderOfDisks(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"scsi0", "virtio1", "virtio2"}, proxmox.Disks(map[string]string{
		"virtio2": "a:2,serial=berthage-d2", "virtio1": "a:1,serial=berthage-d1", "scsi0": "a:0", "ide2": "a:c,media=cdrom", "boot": "order=scsi0;net0",
		"efidisk0": "a:3", "unused0": "a:4", "scsihw": "virtio-scsi-pci",
	}))
	require.Equal(t, []string{"virtio10", "scsi0", "virtio0"}, proxmox.Disks(map[string]string{
		"virtio0": "a:1,serial=berthage-d10", "virtio10": "a:2", "scsi0": "a:0,serial=berthage-d2", "boot": "order=virtio10",
	}))
	require.Equal(t, []string{"scsi0", "virtio1", "scsi1"}, proxmox.Disks(map[string]string{ // the last is somebody's
		"scsi1": "a:2", "scsi0": "a:0", "virtio1": "a:1,serial=berthage-d1",
	}))
	require.Equal(t, "a:0,size=1G,iops=5", proxmox.WithOption("a:0,iops=3,size=1G", "iops", "5"))
	require.Equal(t, "a:0,size=1G", proxmox.WithOption("a:0,iops=3,size=1G", "iops", ""))
}
