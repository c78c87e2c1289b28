package daemon

import (
	"path/filepath"

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
