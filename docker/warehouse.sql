-- What an owner does once for the bridge, on a small warehouse to play with (docker-compose.yml).
\getenv password CDC_PASSWORD

CREATE TABLE customers (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name  text NOT NULL,
    email text
);

CREATE TABLE orders (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    total       numeric(12, 2) NOT NULL,
    placed_at   timestamptz NOT NULL DEFAULT now()
);

INSERT INTO customers (name, email) VALUES ('Ada', 'ada@example.org'), ('Grace', NULL);
INSERT INTO orders (customer_id, total) VALUES (1, 19.90), (2, 250.00);

-- The bridge's role: no superuser, no table of its own.
CREATE ROLE cdc LOGIN REPLICATION PASSWORD :'password';
GRANT SELECT ON customers, orders TO cdc;
CREATE PUBLICATION cdc FOR TABLE customers, orders WITH (publish_via_partition_root);
