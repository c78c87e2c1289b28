package robot

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/berthage/berthage/hypervisor"
)

// Server is a rented server.
type Server struct {
	Number    int      `json:"server_number"`
	Name      string   `json:"server_name"`
	IP        string   `json:"server_ip"`       // its main IPv4 address; empty where it has none
	IPv6Net   string   `json:"server_ipv6_net"` // its main IPv6 network
	Product   string   `json:"product"`         // all that is told of its hardware
	DC        string   `json:"dc"`              // "NBG1-DC1"
	Traffic   string   `json:"traffic"`         // its allowance, in words
	Status    string   `json:"status"`          // "ready" or "in process"
	Cancelled bool     `json:"cancelled"`
	PaidUntil string   `json:"paid_until"` // a date
	IPs       []string `json:"ip"`
	Subnets   []Subnet `json:"subnet"`

	// What can be done to it; only Client.Server tells.
	Reset   bool `json:"reset"`
	Rescue  bool `json:"rescue"`
	VNC     bool `json:"vnc"`
	Windows bool `json:"windows"`
	Wake    bool `json:"wol"`
	HotSwap bool `json:"hot_swap"`
}

// Subnet is a network of a server.
type Subnet struct {
	IP   string `json:"ip"`
	Mask string `json:"mask"`
}

// Servers lists all servers.
func (c *Client) Servers(ctx context.Context) ([]Server, error) {
	return list[Server](ctx, c, "/server", "server")
}

// Server returns one server.
func (c *Client) Server(ctx context.Context, number int) (Server, error) {
	return one[Server](ctx, c, http.MethodGet, of("/server/", number), "server", nil)
}

// Rename gives a server another name.
func (c *Client) Rename(ctx context.Context, number int, name string) (Server, error) {
	return one[Server](ctx, c, http.MethodPost, of("/server/", number), "server", url.Values{"server_name": {name}})
}

// ResetType is a way of resetting a server.
type ResetType string

// The ways of resetting.
const (
	ResetSoftware  ResetType = "sw"         // Ctrl+Alt+Del
	ResetHardware  ResetType = "hw"         // the reset button
	ResetManual    ResetType = "man"        // a technician pulls the plug and puts it back
	ResetPower     ResetType = "power"      // the power button: a running server is asked to shut down, one that is off is switched on
	ResetPowerLong ResetType = "power_long" // the power button, held: a running server is switched off
)

// OperatingStatus is what the service knows of a server's power.
type OperatingStatus string

// The states that say something. Every other one, "not supported" above all, says nothing.
const (
	Running OperatingStatus = "running"
	ShutOff OperatingStatus = "shut off"
)

// Reset is how a server can be reset.
type Reset struct {
	Number int             `json:"server_number"`
	IP     string          `json:"server_ip"`
	Types  []ResetType     `json:"type"`
	Status OperatingStatus `json:"operating_status"` // only Client.Reset tells
}

// Resets lists how servers can be reset.
func (c *Client) Resets(ctx context.Context) ([]Reset, error) {
	return list[Reset](ctx, c, "/reset", "reset")
}

// Reset returns how a server can be reset, and whether it runs where that is known.
func (c *Client) Reset(ctx context.Context, number int) (Reset, error) {
	return one[Reset](ctx, c, http.MethodGet, of("/reset/", number), "reset", nil)
}

// ExecuteReset resets a server; the service allows 50 an hour.
func (c *Client) ExecuteReset(ctx context.Context, number int, by ResetType) error {
	return c.do(ctx, http.MethodPost, of("/reset/", number), url.Values{"type": {string(by)}}, nil)
}

// ExecuteWake sends a server a Wake-on-LAN packet; the service allows 10 an hour.
func (c *Client) ExecuteWake(ctx context.Context, number int) error {
	return c.do(ctx, http.MethodPost, of("/wol/", number), url.Values{}, nil)
}

// Failover is an address that can be switched from server to server.
type Failover struct {
	IP       string `json:"ip"`
	Netmask  string `json:"netmask"`
	ServerIP string `json:"server_ip"`     // of the server that it belongs to
	Number   int    `json:"server_number"` // likewise
	Active   string `json:"active_server_ip"`
}

// Failovers lists the failover addresses.
func (c *Client) Failovers(ctx context.Context) ([]Failover, error) {
	return list[Failover](ctx, c, "/failover", "failover")
}

// SwitchFailover routes a failover address to the server with that main address.
func (c *Client) SwitchFailover(ctx context.Context, ip, server netip.Addr) (Failover, error) {
	return one[Failover](ctx, c, http.MethodPost, "/failover/"+ip.String(), "failover", url.Values{"active_server_ip": {server.String()}})
}

// DeleteFailover routes a failover address to no server.
func (c *Client) DeleteFailover(ctx context.Context, ip netip.Addr) error {
	return c.do(ctx, http.MethodDelete, "/failover/"+ip.String(), nil, nil)
}

// Traffic is what an address has sent and received, in GB.
type Traffic struct {
	In  float64 `json:"in"`
	Out float64 `json:"out"`
	Sum float64 `json:"sum"`
}

// Traffic returns the traffic of addresses in a period: by kind "day", "month" or "year", from and to in the form that
// the service has for each, such as 2010-09-01 for a month.
func (c *Client) Traffic(ctx context.Context, kind, from, to string, ips ...netip.Addr) (map[string]Traffic, error) {
	form := url.Values{"type": {kind}, "from": {from}, "to": {to}}
	for _, ip := range ips {
		form.Add("ip[]", ip.String())
	}
	var out struct {
		Traffic struct {
			Data json.RawMessage `json:"data"`
		} `json:"traffic"`
	}
	if err := c.do(ctx, http.MethodPost, "/traffic", form, &out); err != nil {
		return nil, err
	}
	data := make(map[string]Traffic)
	if string(out.Traffic.Data) == "[]" { // how an empty object looks that PHP has written
		return data, nil
	}
	if err := json.Unmarshal(out.Traffic.Data, &data); err != nil {
		return nil, &Error{Op: "POST /traffic", Kind: hypervisor.ErrUnavailable, Message: "the answer is not what it should be"}
	}
	return data, nil
}

// of is a path of one server.
func of(path string, number int) string { return path + strconv.Itoa(number) }

// list reads a list of things, each of which is in an object of its own.
func list[T any](ctx context.Context, c *Client, path, name string) ([]T, error) {
	var raw []map[string]json.RawMessage
	if err := c.do(ctx, http.MethodGet, path, nil, &raw); err != nil {
		return nil, err
	}
	out := make([]T, 0, len(raw))
	for _, o := range raw {
		var v T
		if err := unwrap(o, name, &v); err != nil { // a shortened list is an error
			return nil, &Error{Op: http.MethodGet + " " + path, Kind: hypervisor.ErrUnavailable, Cause: err}
		}
		out = append(out, v)
	}
	return out, nil
}

// one sends a request whose answer is one thing in an object.
func one[T any](ctx context.Context, c *Client, method, path, name string, form url.Values) (T, error) {
	var raw map[string]json.RawMessage
	var v T
	if err := c.do(ctx, method, path, form, &raw); err != nil {
		return v, err
	}
	if err := unwrap(raw, name, &v); err != nil {
		kind := hypervisor.ErrUnavailable
		if method != http.MethodGet {
			kind = hypervisor.ErrUnknown
		}
		return v, &Error{Op: method + " " + path, Kind: kind, Cause: err}
	}
	return v, nil
}
