package robot_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor/hetzner/robot"
	"github.com/berthage/berthage/pool"
)

// answers gives every request the same answer.
type answers struct {
	status int
	body   string
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

// Whatever the service answers, calls return, and no host counts as fenced of which it does not say that it is off.
func FuzzAnswers(f *testing.F) {
	for _, x := range examples() {
		f.Add(x.status, x.answer)
	}
	for _, s := range []string{"", "null", "[]", "{}", "[null]", `[{"server":null}]`, `{"reset":{"type":null,"operating_status":"shut off"}}`,
		`{"error":{"status":403,"code":"RATE_LIMIT_EXCEEDED","max_request":-1,"interval":-1}}`, `{"error":{"missing":{}}}`, `{"traffic":{"data":5}}`} {
		f.Add(200, s)
		f.Add(403, s)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		status = 100 + (status%500+500)%500
		c, err := robot.New(robot.Config{User: "u", Password: "p", Transport: answers{status, body}})
		require.NoError(t, err)
		for _, x := range examples() {
			_, _ = x.call(t.Context(), c)
		}
		_, _ = robot.Inventory{Client: c, Driver: "metal"}.Hosts(t.Context())
		fencer := &robot.Fencer{Client: c, Servers: map[pool.HostID]int{host: 321}, Poll: time.Microsecond, Timeout: time.Millisecond}
		if _, err := fencer.Fence(t.Context(), host); err == nil {
			var said struct {
				Reset robot.Reset `json:"reset"`
			}
			require.NoError(t, json.Unmarshal([]byte(body), &said))
			require.Equal(t, robot.ShutOff, said.Reset.Status)
		}
	})
}
