package openstack

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/url"
	"os"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"

	"github.com/berthage/berthage/pool"
)

// Secret is a password or the like. It prints as "[secret]".
type Secret string

const redacted = "[secret]"

// String hides the secret.
func (s Secret) String() string { return redacted }

// GoString hides the secret.
func (s Secret) GoString() string { return redacted }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON hides the secret.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Cloud says where a cloud is and who asks. The fields are those of clouds.yaml. Wanted is an application credential
// (its id, or its name with a user, and its secret) or a user's password; the former is of one project, can be
// limited and can be withdrawn, and should be preferred.
type Cloud struct {
	AuthURL string // of Keystone, with or without /v3

	ApplicationCredentialID     string
	ApplicationCredentialName   string
	ApplicationCredentialSecret Secret

	UserID          string
	User            string
	UserDomainID    string // empty, with UserDomain: "default"
	UserDomain      string
	Password        Secret
	ProjectID       string
	Project         string
	ProjectDomain   string
	ProjectDomainID string // id of the project's domain; empty, with ProjectDomain: the user's
	SystemScope     bool   // of the whole deployment instead of a project

	Region    string      // empty: the first that the catalogue has
	Interface string      // of the services' addresses: public, internal or admin; empty: public
	TLS       *tls.Config `json:"-"` // nil: what the system trusts
}

// FromFile reads a cloud of a clouds.yaml, and what a secure.yaml beside it adds. With an empty file the usual places
// are searched.
func FromFile(file, cloud string) (Cloud, error) {
	options := []clouds.ParseOption{clouds.WithCloudName(cloud)}
	if file != "" {
		options = append(options, clouds.WithLocations(file))
	}
	auth, endpoints, config, err := clouds.Parse(options...)
	if err != nil {
		return Cloud{}, &pool.Error{Op: "read clouds.yaml", Kind: pool.ErrInvalid, Field: "cloud", Value: cloud, Want: "a cloud of the file: " + err.Error()}
	}
	c := Cloud{
		AuthURL:                 auth.IdentityEndpoint,
		ApplicationCredentialID: auth.ApplicationCredentialID, ApplicationCredentialName: auth.ApplicationCredentialName,
		ApplicationCredentialSecret: Secret(auth.ApplicationCredentialSecret),
		UserID:                      auth.UserID, User: auth.Username, UserDomainID: auth.DomainID, UserDomain: auth.DomainName, Password: Secret(auth.Password),
		ProjectID: auth.TenantID, Project: auth.TenantName,
		Region: endpoints.Region, Interface: string(endpoints.Availability), TLS: config,
	}
	if s := auth.Scope; s != nil {
		c.ProjectDomainID, c.ProjectDomain, c.SystemScope = s.DomainID, s.DomainName, s.System
	}
	return c, c.valid()
}

// FromEnvironment reads the variables that the openstack command reads: OS_CLOUD, which names a cloud of a clouds.yaml
// (OS_CLIENT_CONFIG_FILE, or the usual places), or else OS_AUTH_URL and those of a credential.
func FromEnvironment() (Cloud, error) {
	if cloud := os.Getenv("OS_CLOUD"); cloud != "" {
		return FromFile(os.Getenv("OS_CLIENT_CONFIG_FILE"), cloud)
	}
	env := func(names ...string) string {
		for _, n := range names {
			if v := os.Getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	c := Cloud{
		AuthURL:                     env("OS_AUTH_URL"),
		ApplicationCredentialID:     env("OS_APPLICATION_CREDENTIAL_ID"),
		ApplicationCredentialName:   env("OS_APPLICATION_CREDENTIAL_NAME"),
		ApplicationCredentialSecret: Secret(env("OS_APPLICATION_CREDENTIAL_SECRET")),
		UserID:                      env("OS_USER_ID"),
		User:                        env("OS_USERNAME"),
		UserDomainID:                env("OS_USER_DOMAIN_ID", "OS_DEFAULT_DOMAIN_ID"),
		UserDomain:                  env("OS_USER_DOMAIN_NAME", "OS_DEFAULT_DOMAIN_NAME"),
		Password:                    Secret(env("OS_PASSWORD")),
		ProjectID:                   env("OS_PROJECT_ID", "OS_TENANT_ID"),
		Project:                     env("OS_PROJECT_NAME", "OS_TENANT_NAME"),
		ProjectDomainID:             env("OS_PROJECT_DOMAIN_ID", "OS_DEFAULT_DOMAIN_ID"),
		ProjectDomain:               env("OS_PROJECT_DOMAIN_NAME", "OS_DEFAULT_DOMAIN_NAME"),
		SystemScope:                 env("OS_SYSTEM_SCOPE") == "all",
		Region:                      env("OS_REGION_NAME"),
		Interface:                   env("OS_INTERFACE"),
	}
	return c, c.valid()
}

func (c *Cloud) valid() error {
	u, err := url.Parse(c.AuthURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return invalid("auth_url", "", "the address of Keystone, such as https://cloud.example:5000/v3, without a password")
	}
	switch {
	case c.ApplicationCredentialID != "" || c.ApplicationCredentialName != "":
		if c.ApplicationCredentialSecret == "" || c.ApplicationCredentialID == "" && c.User == "" && c.UserID == "" {
			return invalid("application_credential_secret", "", "the secret, and with a name instead of an id the user")
		}
	case c.User == "" && c.UserID == "" || c.Password == "":
		return invalid("user", c.User, "an application credential, or a user and a password")
	case c.ProjectID == "" && c.Project == "" && !c.SystemScope:
		return invalid("project", "", "a project")
	}
	switch c.Interface {
	case "", "public", "internal", "admin":
	default:
		return invalid("interface", c.Interface, "public, internal or admin")
	}
	return nil
}

// options are what gophercloud wants to know.
func (c *Cloud) options() (gophercloud.AuthOptions, gophercloud.EndpointOpts) {
	endpoints := gophercloud.EndpointOpts{Region: c.Region, Availability: gophercloud.Availability(orDefault(c.Interface, "public"))}
	auth := gophercloud.AuthOptions{IdentityEndpoint: c.AuthURL, AllowReauth: true}
	userDomain := func() {
		auth.DomainID, auth.DomainName = c.UserDomainID, c.UserDomain
		if auth.DomainID != "" {
			auth.DomainName = "" // either, not both
		} else if auth.DomainName == "" && c.UserID == "" {
			auth.DomainID = "default"
		}
	}
	if c.ApplicationCredentialID != "" {
		auth.ApplicationCredentialID, auth.ApplicationCredentialSecret = c.ApplicationCredentialID, string(c.ApplicationCredentialSecret)
		return auth, endpoints
	}
	auth.UserID = c.UserID
	if c.UserID == "" {
		auth.Username = c.User
		userDomain()
	}
	if c.ApplicationCredentialName != "" {
		auth.ApplicationCredentialName, auth.ApplicationCredentialSecret = c.ApplicationCredentialName, string(c.ApplicationCredentialSecret)
		return auth, endpoints
	}
	auth.Password = string(c.Password)
	auth.Scope = &gophercloud.AuthScope{System: c.SystemScope}
	switch {
	case c.SystemScope:
	case c.ProjectID != "":
		auth.Scope.ProjectID = c.ProjectID
	default:
		auth.Scope.ProjectName, auth.Scope.DomainID, auth.Scope.DomainName = c.Project, c.ProjectDomainID, c.ProjectDomain
		if c.ProjectDomainID != "" {
			auth.Scope.DomainName = ""
		} else if c.ProjectDomain == "" {
			auth.Scope.DomainID, auth.Scope.DomainName = auth.DomainID, auth.DomainName
			if auth.Scope.DomainID == "" && auth.Scope.DomainName == "" {
				auth.Scope.DomainID = "default"
			}
		}
	}
	return auth, endpoints
}

// secrets are what must not be told to anybody.
func (c *Cloud) secrets() []string {
	var out []string
	for _, s := range []Secret{c.Password, c.ApplicationCredentialSecret} {
		if len(s) >= 4 { // a shorter one would tear any text apart
			out = append(out, string(s))
		}
	}
	return out
}

// errRefusedLogin: Keystone has refused the credential a short time ago.
var errRefusedLogin = errors.New("the credential has just been refused by Keystone, and is not tried again yet")
