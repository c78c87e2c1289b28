package daemon

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/notify"
)

// secretsKey is the name of the file of keys in the data directory.
const secretsKey = "secrets-key"

// receivers reads the keys that seal receivers' secrets, and says how notifiers are made. Only a file in the data directory is made when
// there is none: another one is shared, and a second key would open nothing.
func (d *Daemon) receivers() (err error) {
	name := d.config.SecretsKey
	if name == "" {
		name = filepath.Join(d.config.Data, secretsKey)
	}
	if d.keys, err = receivers.LoadKeys(name, d.config.SecretsKey == ""); err != nil {
		return err
	}
	d.maker = &receivers.Maker{Guard: notify.Guard{Allow: d.config.NotifyAllow}, Notes: receivers.ScratchNotes(d.store)}
	return nil
}

// messaging says how the Manager tells: receivers of the ledger are opened and made here, and links lead to the page of alerts.
func (d *Daemon) messaging() berthage.Messaging {
	m := berthage.Messaging{Make: func(r berthage.Receiver) (notify.Notifier, error) {
		secrets, err := d.keys.Open(r.Name, r.Type, r.Sealed)
		if err != nil {
			return nil, err
		}
		return d.maker.Make(receivers.Receiver{Name: r.Name, Type: r.Type, Settings: r.Settings, Secrets: secrets})
	}}
	if base := strings.TrimRight(d.config.PublicURL, "/"); base != "" {
		m.Link = func(group alert.Labels) string {
			var words []string
			for _, value := range group.All() {
				words = append(words, value)
			}
			return base + "/alerts?" + url.Values{"find": {strings.Join(words, " ")}}.Encode()
		}
	}
	return m
}

// backupFailed has it told that a backup could not be written.
func (d *Daemon) backupFailed(ctx context.Context, why error) error {
	err := d.manager.As("berthd", "backups").Messages().Announce(ctx, berthage.Event{
		Kind: "backup-failed", Severity: alert.High, Title: "The backup of the ledger has failed", Text: why.Error(),
	})
	if err != nil {
		d.log.Warn("nobody is told that the backup has failed", "error", err)
	}
	return err
}
