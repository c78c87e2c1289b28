package openstack_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/openstack"
	"github.com/berthage/berthage/pool"
)

func good() openstack.Config {
	return openstack.Config{Cloud: openstack.Cloud{AuthURL: "https://cloud.example:5000/v3", User: "u", Password: "password-1", Project: "p", Region: "r"}}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*openstack.Config){
		"name":                          func(c *openstack.Config) { c.Name = "a/b" },
		"mode":                          func(c *openstack.Config) { c.Mode = "both" },
		"auth_url":                      func(c *openstack.Config) { c.Cloud.AuthURL = "cloud.example" },
		"user":                          func(c *openstack.Config) { c.Cloud.Password = "" },
		"project":                       func(c *openstack.Config) { c.Cloud.Project = "" },
		"application_credential_secret": func(c *openstack.Config) { c.Cloud.ApplicationCredentialID = "x" },
		"interface":                     func(c *openstack.Config) { c.Cloud.Interface = "private" },
		"storage":                       func(c *openstack.Config) { c.Storage = "Bad Kind" },
		"data_storage": func(c *openstack.Config) {
			c.Mode, c.Storage, c.DataStorage = openstack.Hypervisors, "ssd", "nvme"
		},
		"flavors":           func(c *openstack.Config) { c.Flavors = map[string]pool.Resources{"f": {pool.GPU: -1}} },
		"networks":          func(c *openstack.Config) { c.Networks = map[string]string{"a b": "x"} },
		"network":           func(c *openstack.Config) { c.Network = "x" },
		"security_groups":   func(c *openstack.Config) { c.SecurityGroups = []string{""} },
		"availability_zone": func(c *openstack.Config) { c.AvailabilityZone = "nova:host" },
		"create_flavors":    func(c *openstack.Config) { c.CreateFlavors = true },
		"hosts":             func(c *openstack.Config) { c.Hosts = map[string]openstack.HostConfig{"other": {}} },
		"zone":              func(c *openstack.Config) { c.Hosts = map[string]openstack.HostConfig{"r": {Zone: "a b"}} },
		"capacity": func(c *openstack.Config) {
			c.Hosts = map[string]openstack.HostConfig{"r": {Capacity: pool.Resources{pool.CPU: -1}}}
		},
	} {
		c := good()
		change(&c)
		_, err := openstack.New(c)
		require.ErrorIs(t, err, pool.ErrInvalid, field)
		require.ErrorContains(t, err, field)
		require.NotContains(t, err.Error(), "password-1")
	}
	_, err := openstack.New(good())
	require.NoError(t, err)
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for given, want := range map[time.Duration]time.Duration{0: 15 * time.Minute, time.Second: time.Second, -1: 0} {
		c := good()
		c.Settles, c.Without = given, []hypervisor.Ability{hypervisor.CanConsole, hypervisor.CanHibernate}
		d, err := openstack.New(c)
		require.NoError(t, err)
		is := d.Describe("openstack/r")
		require.Equal(t, want, is.Settles)
		require.False(t, is.CreateUnique)
		require.True(t, is.FirstBoot)
		require.NotContains(t, is.Abilities, hypervisor.CanConsole)
		require.Contains(t, is.Abilities, hypervisor.CanSuspend)
		require.NotContains(t, is.Abilities, hypervisor.CanMigrate)
		require.Zero(t, d.Describe("openstack/other"))
		require.Zero(t, d.Describe("libvirt/r"))
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	c := good()
	b, err := json.Marshal(c.Cloud)
	require.NoError(t, err)
	for _, text := range []string{fmt.Sprintf("%v", c.Cloud), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c.Cloud), fmt.Sprint("password ", c.Cloud.Password), string(b), c.Cloud.Password.LogValue().String()} {
		require.NotContains(t, text, "password-1")
	}
}

const cloudsFile = `clouds:
  app:
    auth_type: v3applicationcredential
    region_name: two
    interface: internal
    auth: {auth_url: "https://cloud.example:5000/v3", application_credential_id: "id", application_credential_secret: "secret"}
  password:
    auth: {auth_url: "https://cloud.example:5000/v3", username: u, password: p, user_domain_name: ud, project_name: pr, project_domain_name: pd}
  system:
    auth: {auth_url: "https://cloud.example:5000/v3", username: u, password: p, user_domain_id: ud, system_scope: all}
`

// The same credentials come from a file, and from the environment by a cloud's name or one by one.
func TestCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	require.NoError(t, os.WriteFile(file, []byte(cloudsFile), 0o600))
	app := openstack.Cloud{AuthURL: "https://cloud.example:5000/v3", ApplicationCredentialID: "id", ApplicationCredentialSecret: "secret", Region: "two", Interface: "internal"}
	password := openstack.Cloud{AuthURL: "https://cloud.example:5000/v3", User: "u", Password: "p", UserDomain: "ud", Project: "pr", ProjectDomain: "pd"}
	system := openstack.Cloud{AuthURL: "https://cloud.example:5000/v3", User: "u", Password: "p", UserDomainID: "ud", SystemScope: true}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "OS_") {
			t.Setenv(name, "")
		}
	}
	for name, want := range map[string]openstack.Cloud{"app": app, "password": password, "system": system} {
		got, err := openstack.FromFile(file, name)
		require.NoError(t, err)
		if want.Interface == "" {
			want.Interface = "public"
		}
		got.TLS = nil
		require.Equal(t, want, got, name)
		t.Setenv("OS_CLIENT_CONFIG_FILE", file)
		t.Setenv("OS_CLOUD", name)
		got, err = openstack.FromEnvironment()
		require.NoError(t, err)
		got.TLS = nil
		require.Equal(t, want, got, name)
	}
	_, err := openstack.FromFile(file, "none")
	require.ErrorIs(t, err, pool.ErrInvalid)
	t.Setenv("OS_CLOUD", "")
	for name, value := range map[string]string{"OS_AUTH_URL": password.AuthURL, "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_USER_DOMAIN_NAME": "ud", "OS_PROJECT_NAME": "pr", "OS_PROJECT_DOMAIN_NAME": "pd"} {
		t.Setenv(name, value)
	}
	got, err := openstack.FromEnvironment()
	require.NoError(t, err)
	require.Equal(t, password, got)
	t.Setenv("OS_PASSWORD", "")
	_, err = openstack.FromEnvironment()
	require.ErrorIs(t, err, pool.ErrInvalid)
}
