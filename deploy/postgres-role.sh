# For the image of PostgreSQL, when it makes its database: the servers' role, which owns nothing and may bypass nothing.
psql -v ON_ERROR_STOP=1 -U postgres -d "$POSTGRES_DB" -v password="$(cat /run/secrets/app_sync)" <<'SQL'
CREATE ROLE app_sync LOGIN PASSWORD :'password';
SQL
