//go:build unix

package daemon_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
)

// The commands of docs/operations.md, section by section, as an operator would type them.
func TestTheCommandsOfOperations(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"sh", "curl", "sed", "grep"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT RUN: the commands of docs/operations.md: there is no %s", program)
		}
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	sections := make(map[string]string)
	for _, s := range strings.Split(string(doc), "\n## ")[1:] {
		title, rest, _ := strings.Cut(s, "\n")
		if m := regexp.MustCompile("(?s)<!-- run by (?:TestTheFirstInstance|TestTheCommandsOfOperations) -->\n```sh\n(.*?)```").FindStringSubmatch(rest); m != nil {
			sections[title] = m[1]
		}
	}
	first := sections["The first instance"]
	prelude := first[:strings.Index(first, "\n}\n")+3] // data, url and call

	r := start(t, 3, lost(berthage.EvacuateFenced, hypervisor.CanFence))
	run := func(title string) string {
		t.Helper()
		commands := sections[title]
		require.NotEmpty(t, commands, title)
		delete(sections, title)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // what they wait for may not happen
		defer cancel()
		sh := exec.CommandContext(ctx, "sh", "-e")
		sh.WaitDelay = time.Second
		sh.Stdin = strings.NewReader(prelude + commands)
		sh.Env = append(os.Environ(), "BERTHD_DATA="+r.config.Data, "BERTHD_URL="+r.d.URL())
		out, err := sh.CombinedOutput()
		require.NoError(t, err, "%s: %s", title, out)
		require.NotContains(t, string(out), "/problems/", title)
		return string(out)
	}
	run("The first instance")
	require.Contains(t, run("Clusters"), `"name":"api-2"`)
	r.eventually(func() bool { return len(r.get("/api/v1/clusters/shop/api/members").items()) == 2 })

	require.Contains(t, run("Projects, limits and usage"), `"status":"granted"`)
	require.Contains(t, run("The audit log"), `"action":"grant-quota"`)

	run("Draining a host for maintenance")
	host := path("sim/node-0001")
	require.Equal(t, true, r.get(host).at("schedulable"))
	require.Empty(t, r.get(host+"/leaving").items())

	// Something is on the host that dies.
	id, _ := r.get("/api/v1/instances?name=api-0").items()[0]["id"].(string)
	r.finished(r.post("/api/v1/instances/"+id+"/move", object{"host": "sim/node-0001"}).want(http.StatusAccepted))
	require.NoError(t, r.d.Fleet().SetHostState("sim/node-0001", fake.Dead))
	r.eventually(func() bool { return len(r.get("/api/v1/hosts?condition=unreachable").items()) == 1 })
	require.Contains(t, run("A host that died"), `"conditions":["unreachable","fenced"]`)
	require.NotEqual(t, "sim/node-0001", r.get("/api/v1/instances/"+id).at("host"))
	r.status(id, "running")

	require.Contains(t, run("Alerts"), `"phase":"active"`)
	require.Contains(t, run("Messages"), `{"targets":[{"id":"{}","receivers":["ops"]`)

	run("Resizing")
	web := r.get("/api/v1/instances?name=web-1").items()[0]
	require.InDelta(t, 8<<30, web["resources"].(object)["memory"], 0)
	require.InDelta(t, 30<<30, web["disks"].([]any)[0].(object)["size"], 0)
	require.Contains(t, run("Hibernating"), `"kind":"resume"`)
	require.Contains(t, run("Shelving"), `"kind":"unshelve"`)
	require.Contains(t, run("What if, and moves that gain something"), `"mode":"off"`)
	require.Empty(t, sections, "sections whose commands nobody runs")
}
