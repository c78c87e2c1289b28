package robot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
)

// Boot is what a server boots the next time. What is not offered for it is nil.
type Boot struct {
	Rescue *BootOption `json:"rescue"`
	Linux  *BootOption `json:"linux"`
}

// BootOption is a boot configuration: active, with what was chosen, or not, with what can be.
type BootOption struct {
	Number   int     `json:"server_number"`
	Active   bool    `json:"active"`
	OS       Choices `json:"os"`       // of the rescue system
	Dist     Choices `json:"dist"`     // of an installation
	Lang     Choices `json:"lang"`     //
	Password Secret  `json:"password"` // of root, when it is active and there are no keys
	Keys     Keys    `json:"authorized_key"`
}

// Choices are the one that was made, or all that can be.
type Choices []string

// UnmarshalJSON takes one text, a list, or nothing.
func (c *Choices) UnmarshalJSON(b []byte) error {
	var one *string
	if json.Unmarshal(b, &one) == nil {
		*c = nil
		if one != nil {
			*c = Choices{*one}
		}
		return nil
	}
	var all []string
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*c = all
	return nil
}

// Keys are keys, each of which comes in an object of its own.
type Keys []Key

// UnmarshalJSON takes them out of their objects.
func (k *Keys) UnmarshalJSON(b []byte) error {
	var all []struct {
		Key Key `json:"key"`
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*k = nil
	for _, one := range all {
		*k = append(*k, one.Key)
	}
	return nil
}

// Boot returns what a server boots the next time.
func (c *Client) Boot(ctx context.Context, number int) (Boot, error) {
	return one[Boot](ctx, c, http.MethodGet, of("/boot/", number), "boot", nil)
}

// ActivateRescue makes a server boot the rescue system the next time: "linux", say. With fingerprints of keys there is
// no password. It takes effect with a reset.
func (c *Client) ActivateRescue(ctx context.Context, number int, os string, keys ...string) (BootOption, error) {
	form := url.Values{"os": {os}}
	add(form, keys)
	return one[BootOption](ctx, c, http.MethodPost, of("/boot/", number)+"/rescue", "rescue", form)
}

// DeactivateRescue ends that.
func (c *Client) DeactivateRescue(ctx context.Context, number int) error {
	return c.do(ctx, http.MethodDelete, of("/boot/", number)+"/rescue", nil, nil)
}

// ActivateLinux makes a server install a distribution the next time that it boots, by its name in BootOption.Dist: all
// that is on its disks is lost then. It takes effect with a reset.
func (c *Client) ActivateLinux(ctx context.Context, number int, dist, lang string, keys ...string) (BootOption, error) {
	form := url.Values{"dist": {dist}, "lang": {lang}}
	add(form, keys)
	return one[BootOption](ctx, c, http.MethodPost, of("/boot/", number)+"/linux", "linux", form)
}

// DeactivateLinux ends that.
func (c *Client) DeactivateLinux(ctx context.Context, number int) error {
	return c.do(ctx, http.MethodDelete, of("/boot/", number)+"/linux", nil, nil)
}

func add(form url.Values, keys []string) {
	for _, k := range keys {
		form.Add("authorized_key[]", k)
	}
}

// Key is a public SSH key.
type Key struct {
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	Type        string `json:"type"`
	Size        int    `json:"size"`
	Data        string `json:"data"`
}

// Keys lists the keys of the account.
func (c *Client) Keys(ctx context.Context) ([]Key, error) { return list[Key](ctx, c, "/key", "key") }

// AddKey adds a key in the form of OpenSSH.
func (c *Client) AddKey(ctx context.Context, name, data string) (Key, error) {
	return one[Key](ctx, c, http.MethodPost, "/key", "key", url.Values{"name": {name}, "data": {data}})
}

// DeleteKey removes a key.
func (c *Client) DeleteKey(ctx context.Context, fingerprint string) error {
	return c.do(ctx, http.MethodDelete, "/key/"+url.PathEscape(fingerprint), nil, nil)
}

// Product is a server that can be ordered.
type Product struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description []string `json:"description"`
	Traffic     string   `json:"traffic"`
	Dist        []string `json:"dist"`
	Lang        []string `json:"lang"`
	Location    Choices  `json:"location"`
}

// Products lists what can be ordered.
func (c *Client) Products(ctx context.Context) ([]Product, error) {
	return list[Product](ctx, c, "/order/server/product", "product")
}

// ServerOrder is an order for a server.
type ServerOrder struct {
	Product  string // its id
	Location string // "FSN1"
	Dist     string // what is installed; empty: the rescue system
	Lang     string
	Keys     []string // fingerprints

	// Buy makes it a contract, which costs money every month until it is cancelled. Without it the order is a test: it
	// is checked, and nothing else.
	Buy bool
}

// Transaction is what becomes of an order.
type Transaction struct {
	ID     string `json:"id"`
	Date   string `json:"date"`
	Status string `json:"status"`        // "ready", "in process" or "cancelled"
	Number int    `json:"server_number"` // zero until it is ready
	IP     string `json:"server_ip"`     // empty until it is ready
}

// Order orders a server, as a test unless Buy says otherwise; the service allows 20 a day. It is never repeated: where
// the outcome is not known, look at Transactions.
func (c *Client) Order(ctx context.Context, o ServerOrder) (Transaction, error) {
	form := url.Values{"product_id": {o.Product}}
	for key, v := range map[string]string{"location": o.Location, "dist": o.Dist, "lang": o.Lang} {
		if v != "" {
			form.Set(key, v)
		}
	}
	add(form, o.Keys)
	if !o.Buy {
		form.Set("test", "true")
	}
	return one[Transaction](ctx, c, http.MethodPost, "/order/server/transaction", "transaction", form)
}

// Transactions lists the orders of the last 30 days.
func (c *Client) Transactions(ctx context.Context) ([]Transaction, error) {
	return list[Transaction](ctx, c, "/order/server/transaction", "transaction")
}

// Transaction returns one order.
func (c *Client) Transaction(ctx context.Context, id string) (Transaction, error) {
	return one[Transaction](ctx, c, http.MethodGet, "/order/server/transaction/"+url.PathEscape(id), "transaction", nil)
}

// unwrap reads what an object has under a name.
func unwrap(o map[string]json.RawMessage, name string, v any) error {
	b, ok := o[name]
	if !ok || string(b) == "null" || json.Unmarshal(b, v) != nil {
		return errors.New("the answer has no " + name + " as it should be")
	}
	return nil
}
