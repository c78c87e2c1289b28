package robot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hetzner/hetznertest"
	"github.com/berthage/berthage/hypervisor/hetzner/robot"
	"github.com/berthage/berthage/pool"
)

const secret = "password-that-nobody-must-see"

func service(t *testing.T, servers ...hetznertest.RobotServer) (*hetznertest.Robot, *robot.Client) {
	t.Helper()
	f := hetznertest.NewRobot(hetznertest.RobotConfig{User: "#ws+user", Password: secret, Servers: servers})
	t.Cleanup(f.Close)
	c, err := robot.New(robot.Config{User: "#ws+user", Password: secret, Endpoint: f.Endpoint()})
	require.NoError(t, err)
	return f, c
}

// examples are the forms of requests and answers in the service's documentation, with addresses for documentation.
func examples() map[string]struct {
	call    func(ctx context.Context, c *robot.Client) (any, error)
	request string // method, path, form
	status  int
	answer  string
	want    any
} {
	type row = struct {
		call    func(ctx context.Context, c *robot.Client) (any, error)
		request string
		status  int
		answer  string
		want    any
	}
	ip := netip.MustParseAddr
	return map[string]row{
		"servers": {func(ctx context.Context, c *robot.Client) (any, error) { return c.Servers(ctx) }, "GET /server ", 200,
			`[{"server":{"server_ip":"192.0.2.1","server_ipv6_net":"2001:db8:111:4221::","server_number":321,"server_name":"server1","product":"DS 3000","dc":"NBG1-DC1",
			"traffic":"5 TB","status":"ready","cancelled":false,"paid_until":"2010-09-02","ip":["192.0.2.1"],"subnet":[{"ip":"2001:db8:111:4221::","mask":"64"}],"linked_storagebox":null}},
			{"server":{"server_ip":null,"server_ipv6_net":"2001:db8:111:4222::","server_number":421,"server_name":"server2","product":"X5","dc":"FSN1-DC10",
			"traffic":"2 TB","status":"in process","cancelled":true,"paid_until":"2010-06-11","ip":null,"subnet":null,"linked_storagebox":12345}}]`,
			[]robot.Server{
				{Number: 321, Name: "server1", IP: "192.0.2.1", IPv6Net: "2001:db8:111:4221::", Product: "DS 3000", DC: "NBG1-DC1", Traffic: "5 TB", Status: "ready",
					PaidUntil: "2010-09-02", IPs: []string{"192.0.2.1"}, Subnets: []robot.Subnet{{IP: "2001:db8:111:4221::", Mask: "64"}}},
				{Number: 421, Name: "server2", IPv6Net: "2001:db8:111:4222::", Product: "X5", DC: "FSN1-DC10", Traffic: "2 TB", Status: "in process", Cancelled: true, PaidUntil: "2010-06-11"},
			}},
		"server": {func(ctx context.Context, c *robot.Client) (any, error) { return c.Server(ctx, 321) }, "GET /server/321 ", 200,
			`{"server":{"server_ip":"192.0.2.1","server_number":321,"server_name":"server1","product":"EQ 8","dc":"NBG1-DC1","status":"ready","reset":true,"rescue":true,"vnc":true,
			"windows":true,"plesk":true,"cpanel":true,"wol":true,"hot_swap":true}}`,
			robot.Server{Number: 321, Name: "server1", IP: "192.0.2.1", Product: "EQ 8", DC: "NBG1-DC1", Status: "ready", Reset: true, Rescue: true, VNC: true, Windows: true, Wake: true, HotSwap: true}},
		"rename": {func(ctx context.Context, c *robot.Client) (any, error) { return c.Rename(ctx, 321, "a b&c") }, "POST /server/321 server_name=a+b%26c", 200,
			`{"server":{"server_number":321,"server_name":"a b&c"}}`, robot.Server{Number: 321, Name: "a b&c"}},
		"resets": {func(ctx context.Context, c *robot.Client) (any, error) { return c.Resets(ctx) }, "GET /reset ", 200,
			`[{"reset":{"server_ip":"192.0.2.1","server_ipv6_net":"2001:db8::","server_number":321,"type":["man","hw","sw"]}}]`,
			[]robot.Reset{{Number: 321, IP: "192.0.2.1", Types: []robot.ResetType{robot.ResetManual, robot.ResetHardware, robot.ResetSoftware}}}},
		"reset": {func(ctx context.Context, c *robot.Client) (any, error) { return c.Reset(ctx, 321) }, "GET /reset/321 ", 200,
			`{"reset":{"server_ip":"192.0.2.1","server_number":321,"type":["sw","hw","power","power_long","man"],"operating_status":"not supported"}}`,
			robot.Reset{Number: 321, IP: "192.0.2.1", Types: []robot.ResetType{"sw", "hw", "power", "power_long", "man"}, Status: "not supported"}},
		"execute reset": {func(ctx context.Context, c *robot.Client) (any, error) {
			return nil, c.ExecuteReset(ctx, 321, robot.ResetHardware)
		}, "POST /reset/321 type=hw", 200, `{"reset":{"server_ip":"192.0.2.1","server_number":321,"type":"hw"}}`, nil},
		"wake": {func(ctx context.Context, c *robot.Client) (any, error) { return nil, c.ExecuteWake(ctx, 321) }, "POST /wol/321 ", 200,
			`{"wol":{"server_ip":"192.0.2.1","server_number":321}}`, nil},
		"boot": {func(ctx context.Context, c *robot.Client) (any, error) {
			b, err := c.Boot(ctx, 321)
			if err != nil || b.Rescue == nil || b.Linux != nil {
				return nil, fmt.Errorf("%+v %w", b, err)
			}
			return *b.Rescue, nil
		}, "GET /boot/321 ", 200,
			`{"boot":{"rescue":{"server_ip":"192.0.2.1","server_number":321,"os":["linux","vkvm"],"arch":[64,32],"active":false,"password":null,"authorized_key":[],"host_key":[]},
			"linux":null,"vnc":null,"windows":null,"plesk":null,"cpanel":null}}`,
			robot.BootOption{Number: 321, OS: robot.Choices{"linux", "vkvm"}}},
		"activate rescue": {func(ctx context.Context, c *robot.Client) (any, error) {
			b, err := c.ActivateRescue(ctx, 321, "linux")
			return []any{b.Active, b.OS, b.Password.Reveal()}, err
		}, "POST /boot/321/rescue os=linux", 200,
			`{"rescue":{"server_ip":"192.0.2.1","server_number":321,"os":"linux","arch":64,"active":true,"password":"jEt0dtUvomlyOwRr","authorized_key":[],"host_key":[]}}`,
			[]any{true, robot.Choices{"linux"}, "jEt0dtUvomlyOwRr"}},
		"deactivate rescue": {func(ctx context.Context, c *robot.Client) (any, error) { return nil, c.DeactivateRescue(ctx, 321) }, "DELETE /boot/321/rescue ", 200,
			`{"rescue":{"server_number":321,"os":["linux"],"active":false,"password":null}}`, nil},
		"activate linux": {func(ctx context.Context, c *robot.Client) (any, error) {
			b, err := c.ActivateLinux(ctx, 321, "Debian 12 base", "en", "56:29:99", "15:28:b0")
			if err != nil || len(b.Keys) == 0 {
				return nil, err
			}
			return []any{b.Active, b.Dist, b.Lang, b.Password.Reveal(), len(b.Keys), b.Keys[0].Fingerprint}, nil
		}, "POST /boot/321/linux authorized_key%5B%5D=56%3A29%3A99&authorized_key%5B%5D=15%3A28%3Ab0&dist=Debian+12+base&lang=en", 200,
			`{"linux":{"server_number":321,"dist":"Debian 12 base","arch":64,"lang":"en","active":true,"password":null,"hostname":"h",
			"authorized_key":[{"key":{"name":"key1","fingerprint":"56:29:99","type":"ED25519","size":256}},{"key":{"name":"key2","fingerprint":"15:28:b0","type":"RSA","size":2048}}],"host_key":[]}}`,
			[]any{true, robot.Choices{"Debian 12 base"}, robot.Choices{"en"}, "", 2, "56:29:99"}},
		"keys": {func(ctx context.Context, c *robot.Client) (any, error) { return c.Keys(ctx) }, "GET /key ", 200,
			`[{"key":{"name":"key1","fingerprint":"56:29:99","type":"ED25519","size":256,"data":"ssh-ed25519 AAAA"}}]`,
			[]robot.Key{{Name: "key1", Fingerprint: "56:29:99", Type: "ED25519", Size: 256, Data: "ssh-ed25519 AAAA"}}},
		"add key": {func(ctx context.Context, c *robot.Client) (any, error) { return c.AddKey(ctx, "k", "ssh-ed25519 AA+A") }, "POST /key data=ssh-ed25519+AA%2BA&name=k", 201,
			`{"key":{"name":"k","fingerprint":"56:29:99"}}`, robot.Key{Name: "k", Fingerprint: "56:29:99"}},
		"delete key": {func(ctx context.Context, c *robot.Client) (any, error) { return nil, c.DeleteKey(ctx, "56:29:99") }, "DELETE /key/56:29:99 ", 200, ``, nil},
		"failovers": {func(ctx context.Context, c *robot.Client) (any, error) { return c.Failovers(ctx) }, "GET /failover ", 200,
			`[{"failover":{"ip":"192.0.2.9","netmask":"255.255.255.255","server_ip":"192.0.2.1","server_ipv6_net":"2001:db8::","server_number":321,"active_server_ip":"192.0.2.2"}}]`,
			[]robot.Failover{{IP: "192.0.2.9", Netmask: "255.255.255.255", ServerIP: "192.0.2.1", Number: 321, Active: "192.0.2.2"}}},
		"switch failover": {func(ctx context.Context, c *robot.Client) (any, error) {
			return c.SwitchFailover(ctx, ip("192.0.2.9"), ip("192.0.2.2"))
		}, "POST /failover/192.0.2.9 active_server_ip=192.0.2.2", 200, `{"failover":{"ip":"192.0.2.9","active_server_ip":"192.0.2.2"}}`, robot.Failover{IP: "192.0.2.9", Active: "192.0.2.2"}},
		"delete failover": {func(ctx context.Context, c *robot.Client) (any, error) {
			return nil, c.DeleteFailover(ctx, ip("192.0.2.9"))
		}, "DELETE /failover/192.0.2.9 ", 200,
			`{"failover":{"ip":"192.0.2.9","active_server_ip":null}}`, nil},
		"traffic": {func(ctx context.Context, c *robot.Client) (any, error) {
			return c.Traffic(ctx, "month", "2010-09-01", "2010-09-31", ip("192.0.2.1"))
		}, "POST /traffic from=2010-09-01&ip%5B%5D=192.0.2.1&to=2010-09-31&type=month", 200,
			`{"traffic":{"type":"month","from":"2010-09-01","to":"2010-09-31","data":{"192.0.2.1":{"in":0.2874,"out":0.0481,"sum":0.3355}}}}`,
			map[string]robot.Traffic{"192.0.2.1": {In: 0.2874, Out: 0.0481, Sum: 0.3355}}},
		"no traffic": {func(ctx context.Context, c *robot.Client) (any, error) { return c.Traffic(ctx, "day", "a", "b") }, "POST /traffic from=a&to=b&type=day", 200,
			`{"traffic":{"type":"day","data":[]}}`, map[string]robot.Traffic{}},
		"products": {func(ctx context.Context, c *robot.Client) (any, error) { return c.Products(ctx) }, "GET /order/server/product ", 200,
			`[{"product":{"id":"EX40","name":"Dedicated Root Server EX40","description":["Intel","32 GB"],"traffic":"30 TB","dist":["Rescue system"],"arch":[64],"lang":["en"],"location":["FSN1"],"prices":[]}}]`,
			[]robot.Product{{ID: "EX40", Name: "Dedicated Root Server EX40", Description: []string{"Intel", "32 GB"}, Traffic: "30 TB", Dist: []string{"Rescue system"}, Lang: []string{"en"}, Location: robot.Choices{"FSN1"}}}},
		"a test of an order": {func(ctx context.Context, c *robot.Client) (any, error) {
			return c.Order(ctx, robot.ServerOrder{Product: "EX40", Location: "FSN1", Keys: []string{"15:28"}})
		}, "POST /order/server/transaction authorized_key%5B%5D=15%3A28&location=FSN1&product_id=EX40&test=true", 201,
			`{"transaction":{"id":"B20150121-344957-251478","date":"2015-01-21T12:30:43+01:00","status":"in process","server_number":null,"server_ip":null,"authorized_key":[],"host_key":[],"comment":null}}`,
			robot.Transaction{ID: "B20150121-344957-251478", Date: "2015-01-21T12:30:43+01:00", Status: "in process"}},
		"an order": {func(ctx context.Context, c *robot.Client) (any, error) {
			return c.Order(ctx, robot.ServerOrder{Product: "EX40", Dist: "Rescue system", Lang: "en", Buy: true})
		}, "POST /order/server/transaction dist=Rescue+system&lang=en&product_id=EX40", 201, `{"transaction":{"id":"B1","status":"ready","server_number":107239,"server_ip":"192.0.2.1"}}`,
			robot.Transaction{ID: "B1", Status: "ready", Number: 107239, IP: "192.0.2.1"}},
	}
}

// Each call sends what the documentation says, and understands what it says is answered.
func TestExamples(t *testing.T) {
	t.Parallel()
	for name, x := range examples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				user, password, _ := r.BasicAuth()
				if user != "#ws+user" || password != secret || r.Method == http.MethodPost && r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				got = r.Method + " " + r.URL.Path + " " + string(b)
				w.WriteHeader(x.status)
				_, _ = io.WriteString(w, x.answer)
			}))
			defer s.Close()
			c, err := robot.New(robot.Config{User: "#ws+user", Password: secret, Endpoint: s.URL + "/"})
			require.NoError(t, err)
			v, err := x.call(t.Context(), c)
			require.NoError(t, err)
			require.Equal(t, x.request, got)
			require.Equal(t, x.want, v)
		})
	}
}

// The simulated service answers what the client understands: all that is there, in one pass.
func TestSimulated(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f, c := service(t, hetznertest.RobotServer{Number: 321, IP: "192.0.2.1", Product: "EX44", DC: "FSN1-DC1", Resets: []string{"sw", "hw", "man", "power", "power_long"}, Running: true},
		hetznertest.RobotServer{Number: 421, IP: "192.0.2.2", Product: "EX44", DC: "FSN1-DC1"})
	servers, err := c.Servers(ctx)
	require.NoError(t, err)
	require.Len(t, servers, 2)
	one, err := c.Server(ctx, 321)
	require.NoError(t, err)
	require.True(t, one.Reset && one.Rescue)
	_, err = c.Server(ctx, 5)
	require.ErrorIs(t, err, hypervisor.ErrNotFound)

	option, err := c.ActivateRescue(ctx, 321, "linux")
	require.NoError(t, err)
	require.Equal(t, "boot-password-of-the-test", option.Password.Reveal())
	_, err = c.ActivateLinux(ctx, 321, "Debian 12 base", "en")
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.ErrorContains(t, err, "BOOT_ALREADY_ENABLED")
	require.NoError(t, c.ExecuteReset(ctx, 321, robot.ResetHardware))
	require.Equal(t, "rescue", f.Server(321).Booted)
	require.ErrorIs(t, c.ExecuteReset(ctx, 421, robot.ResetHardware), hypervisor.ErrInvalid)
	_, err = c.ActivateLinux(ctx, 321, "Debian 12 base", "en", "56:29")
	require.NoError(t, err)
	require.NoError(t, c.DeactivateLinux(ctx, 321))
	b, err := c.Boot(ctx, 321)
	require.NoError(t, err)
	require.Equal(t, robot.Choices{"en"}, b.Linux.Lang)
	require.NoError(t, c.ExecuteWake(ctx, 421))
	require.True(t, f.Server(421).Running)

	_, err = c.AddKey(ctx, "k", "ssh-ed25519 AAAA")
	require.NoError(t, err)
	keys, err := c.Keys(ctx)
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.NoError(t, c.DeleteKey(ctx, keys[0].Fingerprint))

	fo, err := c.SwitchFailover(ctx, netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.0.2.2"))
	require.NoError(t, err)
	require.Equal(t, "192.0.2.2", fo.Active)
	require.NoError(t, c.DeleteFailover(ctx, netip.MustParseAddr("198.51.100.1")))
	list, err := c.Failovers(ctx)
	require.NoError(t, err)
	require.Empty(t, list[0].Active)

	_, err = c.Order(ctx, robot.ServerOrder{Product: "EX44"})
	require.NoError(t, err)
	require.Zero(t, f.Orders(), "a test is no contract")
	made, err := c.Order(ctx, robot.ServerOrder{Product: "EX44", Buy: true})
	require.NoError(t, err)
	require.Equal(t, 1, f.Orders())
	again, err := c.Transaction(ctx, made.ID)
	require.NoError(t, err)
	require.Equal(t, made, again)
	all, err := c.Transactions(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1)
}

// A wrong password leads to exactly one request, however many ask at the same time, and to none after that.
func TestOneFailedLogIn(t *testing.T) {
	t.Parallel()
	f, c := service(t, hetznertest.RobotServer{Number: 321})
	_, err := c.Servers(t.Context())
	require.NoError(t, err)
	before := len(f.Requests())
	require.NoError(t, c.SetCredentials("#ws+user", "wrong-"+secret))
	var wg sync.WaitGroup
	var locked atomic.Int32
	for range 20 {
		wg.Go(func() {
			_, err := c.Servers(context.Background())
			if errors.Is(err, robot.ErrLocked) && errors.Is(err, hypervisor.ErrUnavailable) && !strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
				locked.Add(1)
			}
		})
	}
	wg.Wait()
	require.Equal(t, int32(20), locked.Load())
	require.Len(t, f.Requests(), before+1)
	require.False(t, f.Blocked())
	require.NoError(t, c.SetCredentials("#ws+user", secret))
	_, err = c.Servers(t.Context())
	require.NoError(t, err)
}

// A budget that is used up is told apart from a right that is missing.
func TestBudget(t *testing.T) {
	t.Parallel()
	f, c := service(t, hetznertest.RobotServer{Number: 321, Resets: []string{"sw"}})
	f.Fail(hetznertest.Fault{Status: 403, Code: "SERVER_NOT_ALLOWED", Message: "no\nright"})
	err := c.ExecuteWake(t.Context(), 321)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.False(t, robot.RateLimited(err))
	require.NotContains(t, err.Error(), "\n")
	for range 10 {
		require.NoError(t, c.ExecuteWake(t.Context(), 321))
	}
	err = c.ExecuteWake(t.Context(), 321)
	var e *robot.Error
	require.ErrorAs(t, err, &e)
	require.True(t, robot.RateLimited(err))
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	require.Equal(t, []any{10, time.Hour}, []any{e.MaxRequests, e.Interval})
	require.NoError(t, c.ExecuteReset(t.Context(), 321, robot.ResetSoftware), "another budget")
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		fault      hetznertest.Fault
		read, sent error // kinds for a question and for a change
	}{
		"cut before":     {hetznertest.Fault{Before: true}, hypervisor.ErrUnavailable, hypervisor.ErrUnknown},
		"cut after":      {hetznertest.Fault{After: true}, hypervisor.ErrUnavailable, hypervisor.ErrUnknown},
		"of a proxy":     {hetznertest.Fault{Status: 502, Text: "<html>" + secret}, hypervisor.ErrUnavailable, hypervisor.ErrUnknown},
		"no JSON":        {hetznertest.Fault{Text: "<html>"}, hypervisor.ErrUnavailable, nil},
		"maintenance":    {hetznertest.Fault{Status: 503, Code: "MAINTENANCE", Message: "x"}, hypervisor.ErrUnavailable, hypervisor.ErrUnavailable},
		"internal error": {hetznertest.Fault{Status: 500, Code: "INTERNAL_ERROR", Message: "x"}, hypervisor.ErrUnavailable, hypervisor.ErrUnknown},
		"not found":      {hetznertest.Fault{Status: 404, Code: "SERVER_NOT_FOUND", Message: "x"}, hypervisor.ErrNotFound, hypervisor.ErrNotFound},
		"in the way":     {hetznertest.Fault{Status: 409, Code: "RESET_MANUAL_ACTIVE", Message: "x"}, hypervisor.ErrRefused, hypervisor.ErrRefused},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f, c := service(t, hetznertest.RobotServer{Number: 321, Resets: []string{"sw"}})
			tc.fault.Times = -1
			f.Fail(tc.fault)
			_, err := c.Reset(t.Context(), 321)
			require.ErrorIs(t, err, tc.read)
			require.NotContains(t, err.Error(), secret)
			before := len(f.Requests())
			err = c.ExecuteReset(t.Context(), 321, robot.ResetSoftware)
			if tc.sent != nil {
				require.ErrorIs(t, err, tc.sent)
				require.NotContains(t, err.Error(), secret)
			}
			require.LessOrEqual(t, len(f.Requests()), before+1, "never twice")
		})
	}
	_, c := service(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Servers(ended)
	require.ErrorIs(t, err, context.Canceled)
	_, err = c.Servers(t.Context())
	require.NoError(t, err)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []robot.Config{
		{}, {User: "u"}, {Password: secret}, {User: "a:b", Password: secret}, {User: "u", Password: secret, Endpoint: "https://u:" + secret + "@x"}, {User: "u", Password: secret, Endpoint: "x"},
	} {
		_, err := robot.New(c)
		require.ErrorIs(t, err, pool.ErrInvalid)
		require.NotContains(t, err.Error(), secret)
	}
}

func TestSecretsAreKept(t *testing.T) {
	t.Parallel()
	_, c := service(t, hetznertest.RobotServer{Number: 321})
	option, err := c.ActivateRescue(t.Context(), 321, "linux")
	require.NoError(t, err)
	b, err := json.Marshal(option)
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "option", option, "password", option.Password)
	shown := string(b) + log.String() + fmt.Sprintf("%v %+v %#v %s %q %x", option, option, option, option.Password, option.Password, option.Password) + fmt.Sprint(&option)
	require.NotContains(t, shown, "boot-password")
	require.NotContains(t, shown, fmt.Sprintf("%x", "boot-password"))
	require.NotContains(t, shown, url.QueryEscape(secret))
}
