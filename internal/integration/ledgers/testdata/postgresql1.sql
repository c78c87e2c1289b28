SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE berthage_golden.berthage_events (
    revision bigint NOT NULL,
    idx bigint NOT NULL,
    id text NOT NULL,
    "time" bigint NOT NULL,
    actor text NOT NULL,
    cause text NOT NULL,
    epoch bigint NOT NULL,
    kind text NOT NULL,
    version bigint NOT NULL,
    data bytea NOT NULL,
    subject text NOT NULL,
    private_hash bytea NOT NULL,
    leaf bytea NOT NULL,
    size bigint NOT NULL,
    CONSTRAINT berthage_events_idx_check CHECK ((idx >= 0)),
    CONSTRAINT berthage_events_leaf_check CHECK ((octet_length(leaf) = 32)),
    CONSTRAINT berthage_events_private_hash_check CHECK ((octet_length(private_hash) = ANY (ARRAY[0, 32]))),
    CONSTRAINT berthage_events_revision_check CHECK ((revision > 0)),
    CONSTRAINT berthage_events_size_check CHECK ((size > 0))
);
CREATE TABLE berthage_golden.berthage_private (
    revision bigint NOT NULL,
    idx bigint NOT NULL,
    subject text NOT NULL COLLATE pg_catalog."C",
    forgotten bigint NOT NULL,
    private bytea NOT NULL,
    salt bytea NOT NULL
);
CREATE TABLE berthage_golden.berthage_schema (
    version bigint NOT NULL,
    checksum character(64) NOT NULL,
    applied bigint NOT NULL
);
CREATE TABLE berthage_golden.berthage_scratch (
    name text NOT NULL COLLATE pg_catalog."C",
    value bytea NOT NULL,
    version bigint NOT NULL,
    expires bigint NOT NULL
);
CREATE TABLE berthage_golden.berthage_sequence (
    version bigint NOT NULL
);
CREATE TABLE berthage_golden.berthage_snapshot (
    revision bigint NOT NULL,
    part bigint NOT NULL,
    data bytea NOT NULL,
    sum bytea NOT NULL
);
INSERT INTO berthage_golden.berthage_events VALUES (1, 0, 'e0', 1795176000000001, 'ada é ''x''', 'token 🚢', 0, 'test.golden', 1, '\x7b20226e223a20307d0a', '', '\x', '\xe343c58b75cccf47e2e624bbf180de9e4f51eb53a03a7de9103fc388399066b3', 3);
INSERT INTO berthage_golden.berthage_events VALUES (1, 1, 'e0kept', 1795176000000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'kept', '\x5b404f91d487e0888aab579cc7bd43ec8d865f3628d80f0a54e9edcb15e617cc', '\x94c729e8438a7064539c7ca26190e111e9d405cd35c17be4a3be8ec3159f8358', 3);
INSERT INTO berthage_golden.berthage_events VALUES (1, 2, 'e0forgotten', 1795176000000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'forgotten', '\x3f230fbfe5e35932b34a61a900a6af2a74024b203c6d4ebe637ffc408b5776e5', '\x6729abe7c047aaf2aade5f01e279365251762980e4af9d0289f7fd00ae2e337e', 3);
INSERT INTO berthage_golden.berthage_events VALUES (2, 0, 'e1', 1795176060000001, 'ada é ''x''', 'token 🚢', 1099511627776, 'test.golden', 2, '\x7b20226e223a20317d0a', '', '\x', '\x01759e8c0332e91f67d384e00c1612df51fa3ebe025eac8b9add1d65f3528617', 1);
INSERT INTO berthage_golden.berthage_events VALUES (3, 0, 'e2', 1795176120000001, 'ada é ''x''', 'token 🚢', 2199023255552, 'test.golden', 3, '\x7b20226e223a20327d0a', '', '\x', '\x1359bcc0ef2f110299111eea076dcb6158a0c6c9781636f1aed88c2f2856f3d3', 1);
INSERT INTO berthage_golden.berthage_events VALUES (4, 0, 'e3', 1795176180000001, 'ada é ''x''', 'token 🚢', 3298534883328, 'test.golden', 1, '\x7b20226e223a20337d0a', '', '\x', '\x7152914d9425c4f083dc539417c54891db7e8ecb0a70fda21e7cbcc02d96a525', 1);
INSERT INTO berthage_golden.berthage_events VALUES (5, 0, 'e4', 1795176240000001, 'ada é ''x''', 'token 🚢', 4398046511104, 'test.golden', 2, '\x7b20226e223a20347d0a', '', '\x', '\xc68e5b4d915b083225e9780a722047fa3f1a8a419e9a42386e59c2812f8276a1', 3);
INSERT INTO berthage_golden.berthage_events VALUES (5, 1, 'e4kept', 1795176240000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'kept', '\x5b404f91d487e0888aab579cc7bd43ec8d865f3628d80f0a54e9edcb15e617cc', '\x3d0b0975b65efd3aa33c9c6983ce7737f1a29e2f5d774d76eedb35f938c54ac3', 3);
INSERT INTO berthage_golden.berthage_events VALUES (5, 2, 'e4forgotten', 1795176240000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'forgotten', '\x3f230fbfe5e35932b34a61a900a6af2a74024b203c6d4ebe637ffc408b5776e5', '\x5da1fe56b62dd2ddd857a7f3eee7bbf88784ba35d1be6b3056a19f7d9844f8b1', 3);
INSERT INTO berthage_golden.berthage_events VALUES (6, 0, 'e5', 1795176300000001, 'ada é ''x''', 'token 🚢', 5497558138880, 'test.golden', 3, '\x7b20226e223a20357d0a', '', '\x', '\x4e042df1c1746d7b4266b4e0896c0372d7e10e4d856b878f752eca276d1e3834', 1);
INSERT INTO berthage_golden.berthage_events VALUES (7, 0, 'e6', 1795176360000001, 'ada é ''x''', 'token 🚢', 6597069766656, 'test.golden', 1, '\x7b20226e223a20367d0a', '', '\x', '\x77608055175d185547ca8dfc91059e6302f8eb8833bb4aee0cd42f4f9f96cda8', 1);
INSERT INTO berthage_golden.berthage_events VALUES (8, 0, 'e7', 1795176420000001, 'ada é ''x''', 'token 🚢', 7696581394432, 'test.golden', 2, '\x7b20226e223a20377d0a', '', '\x', '\x5ca61d0e12b9bd32fcbfe8773dc73ac424082864810e42a806debbd3b6600ddf', 1);
INSERT INTO berthage_golden.berthage_events VALUES (9, 0, 'e8', 1795176480000001, 'ada é ''x''', 'token 🚢', 8796093022208, 'test.golden', 3, '\x7b20226e223a20387d0a', '', '\x', '\x8bf87dfa6cdaed0fea80a57655041df96b2f29e7e906d90ba96a3b19c3d906d4', 3);
INSERT INTO berthage_golden.berthage_events VALUES (9, 1, 'e8kept', 1795176480000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'kept', '\x5b404f91d487e0888aab579cc7bd43ec8d865f3628d80f0a54e9edcb15e617cc', '\x67794da6847baf08f70bee2094adb298b6ab3463ff69bf7296978809b790772f', 3);
INSERT INTO berthage_golden.berthage_events VALUES (9, 2, 'e8forgotten', 1795176480000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'forgotten', '\x3f230fbfe5e35932b34a61a900a6af2a74024b203c6d4ebe637ffc408b5776e5', '\x42863e1f4e9643978711f6d95b1df6e2379821410c455d559c44e8295e9c5c0d', 3);
INSERT INTO berthage_golden.berthage_events VALUES (10, 0, 'e9', 1795176540000001, 'ada é ''x''', 'token 🚢', 9895604649984, 'test.golden', 1, '\x7b20226e223a20397d0a', '', '\x', '\x4fc3a7e26c8b8548aaa1bb33666c93970e07d416ed9984bf49f6629de63fe26e', 1);
INSERT INTO berthage_golden.berthage_events VALUES (11, 0, 'e10', 1795176600000001, 'ada é ''x''', 'token 🚢', 10995116277760, 'test.golden', 2, '\x7b20226e223a2031307d0a', '', '\x', '\x1bd09fbcc4c68d89618064f940632fdb40f761e5ed29d21930a7eb1042ace84a', 1);
INSERT INTO berthage_golden.berthage_events VALUES (12, 0, 'e11', 1795176660000001, 'ada é ''x''', 'token 🚢', 12094627905536, 'test.golden', 3, '\x7b20226e223a2031317d0a', '', '\x', '\x1256a5eef0da386ea44ebd93508ab8cef70705ef1e2fcc929429a6a7abc0e9c1', 1);
INSERT INTO berthage_golden.berthage_events VALUES (13, 0, 'e12', 1795176720000001, 'ada é ''x''', 'token 🚢', 13194139533312, 'test.golden', 1, '\x7b20226e223a2031327d0a', '', '\x', '\x4641c957f1657c0c3df3e0398071a37482c153e56d7e82fe9c13cd49306db6c8', 3);
INSERT INTO berthage_golden.berthage_events VALUES (13, 1, 'e12kept', 1795176720000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'kept', '\x5b404f91d487e0888aab579cc7bd43ec8d865f3628d80f0a54e9edcb15e617cc', '\xe1d5726aa67ade2b986db424648c56fb150c040acb00af87b66ee4842e3addb5', 3);
INSERT INTO berthage_golden.berthage_events VALUES (13, 2, 'e12forgotten', 1795176720000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'forgotten', '\x3f230fbfe5e35932b34a61a900a6af2a74024b203c6d4ebe637ffc408b5776e5', '\xb03ecc043b3c6490d84b9e8be92447cb9a4e2560c0b6620f9362084578f4ac2c', 3);
INSERT INTO berthage_golden.berthage_events VALUES (14, 0, 'e13', 1795176780000001, 'ada é ''x''', 'token 🚢', 14293651161088, 'test.golden', 2, '\x7b20226e223a2031337d0a', '', '\x', '\xb3e0ed1eb3667eb89102d89326bbc28c08fc15249ed6a1cff670265fffa08eb5', 1);
INSERT INTO berthage_golden.berthage_events VALUES (15, 0, 'e14', 1795176840000001, 'ada é ''x''', 'token 🚢', 15393162788864, 'test.golden', 3, '\x7b20226e223a2031347d0a', '', '\x', '\x2614be980103566b060d9c864af0ee63f0fd0eeedf3c5ae8480f4772295bbae0', 1);
INSERT INTO berthage_golden.berthage_events VALUES (16, 0, 'e15', 1795176900000001, 'ada é ''x''', 'token 🚢', 16492674416640, 'test.golden', 1, '\x7b20226e223a2031357d0a', '', '\x', '\xc570f81f58c086aac9be8c40a4bf832ad0043f494e6563187e2695a7244e227a', 1);
INSERT INTO berthage_golden.berthage_events VALUES (17, 0, 'e16', 1795176960000001, 'ada é ''x''', 'token 🚢', 17592186044416, 'test.golden', 2, '\x7b20226e223a2031367d0a', '', '\x', '\x6a586d279ab4fa5ace5b6798afb4b55e377760369f73b2af44bc9972c4bfedbe', 3);
INSERT INTO berthage_golden.berthage_events VALUES (17, 1, 'e16kept', 1795176960000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'kept', '\x5b404f91d487e0888aab579cc7bd43ec8d865f3628d80f0a54e9edcb15e617cc', '\xcd0972a47a4feba8b035d191163c696807c382f37c736d73b3f236de781cdf0f', 3);
INSERT INTO berthage_golden.berthage_events VALUES (17, 2, 'e16forgotten', 1795176960000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'forgotten', '\x3f230fbfe5e35932b34a61a900a6af2a74024b203c6d4ebe637ffc408b5776e5', '\x3bd176057890997e5c7aee889e2dedf0953d617be216138bc560b12cd5d4a01f', 3);
INSERT INTO berthage_golden.berthage_events VALUES (18, 0, 'e17', 1795177020000001, 'ada é ''x''', 'token 🚢', 18691697672192, 'test.golden', 3, '\x7b20226e223a2031377d0a', '', '\x', '\xf57dafe636ab3cd563f2b727b0d2c04f4b0a0af1f17063edd0ebb59e79bb7e49', 1);
INSERT INTO berthage_golden.berthage_events VALUES (19, 0, 'e18', 1795177080000001, 'ada é ''x''', 'token 🚢', 19791209299968, 'test.golden', 1, '\x7b20226e223a2031387d0a', '', '\x', '\x1e8e39272ce9c5b07c935f1b8a2559971834234a97275d8395790fa1483a3f62', 1);
INSERT INTO berthage_golden.berthage_events VALUES (20, 0, 'e19', 1795177140000001, 'ada é ''x''', 'token 🚢', 20890720927744, 'test.golden', 2, '\x7b20226e223a2031397d0a', '', '\x', '\x241dc5443ba4bbc16e42fc96b0c44fbf21e30d548a2f1c347256fdf9e41a30d3', 1);
INSERT INTO berthage_golden.berthage_events VALUES (21, 0, 'e20', 1795177200000001, 'ada é ''x''', 'token 🚢', 21990232555520, 'test.golden', 3, '\x7b20226e223a2032307d0a', '', '\x', '\x5401bb9128799c423a4d8a4f7a8c83c9163847fc19197d1d695c5de4f928c516', 3);
INSERT INTO berthage_golden.berthage_events VALUES (21, 1, 'e20kept', 1795177200000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'kept', '\x5b404f91d487e0888aab579cc7bd43ec8d865f3628d80f0a54e9edcb15e617cc', '\xd674f2a5ba756fa7b15bb97a1e1c84862a60c77d9aac3fab7136fa9902661588', 3);
INSERT INTO berthage_golden.berthage_events VALUES (21, 2, 'e20forgotten', 1795177200000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'forgotten', '\x3f230fbfe5e35932b34a61a900a6af2a74024b203c6d4ebe637ffc408b5776e5', '\xc4ac23b19f58d824b5e9e6af43c3d26906a557227387a195564c76728d1ef89e', 3);
INSERT INTO berthage_golden.berthage_events VALUES (22, 0, 'e21', 1795177260000001, 'ada é ''x''', 'token 🚢', 23089744183296, 'test.golden', 1, '\x7b20226e223a2032317d0a', '', '\x', '\x2ed2013a723d6186d77e71bbb67e7ffd03be4cf980dbc88b6456d210c5c4751b', 1);
INSERT INTO berthage_golden.berthage_events VALUES (23, 0, 'e22', 1795177320000001, 'ada é ''x''', 'token 🚢', 24189255811072, 'test.golden', 2, '\x7b20226e223a2032327d0a', '', '\x', '\xe08fcf1c4aacb2991575f3e1724ef0b6b427e348fae13ad10da943d4571199e4', 1);
INSERT INTO berthage_golden.berthage_events VALUES (24, 0, 'e23', 1795177380000001, 'ada é ''x''', 'token 🚢', 25288767438848, 'test.golden', 3, '\x7b20226e223a2032337d0a', '', '\x', '\x4788a0b2469922957ffe38bbe3f6b50d3ad0307cfbac39131cb4025cb94d08d0', 1);
INSERT INTO berthage_golden.berthage_events VALUES (25, 0, 'e24', 1795177440000001, 'ada é ''x''', 'token 🚢', 26388279066624, 'test.golden', 1, '\x7b20226e223a2032347d0a', '', '\x', '\xda2d07e77ce10ce83295ca4304cc449912c7c63e33fb593550d08f3f9b213208', 3);
INSERT INTO berthage_golden.berthage_events VALUES (25, 1, 'e24kept', 1795177440000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'kept', '\x5b404f91d487e0888aab579cc7bd43ec8d865f3628d80f0a54e9edcb15e617cc', '\x81ba03962421a95a53d19b0d70f2ce48f4e401cce7a8d427a7ebd82f9b9ce0cc', 3);
INSERT INTO berthage_golden.berthage_events VALUES (25, 2, 'e24forgotten', 1795177440000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'forgotten', '\x3f230fbfe5e35932b34a61a900a6af2a74024b203c6d4ebe637ffc408b5776e5', '\x45fe5c251b85233e956e2150420c70f7cf48f8a00f01ac89f0ad5ddc50c267e0', 3);
INSERT INTO berthage_golden.berthage_events VALUES (26, 0, 'e25', 1795177500000001, 'ada é ''x''', 'token 🚢', 27487790694400, 'test.golden', 2, '\x7b20226e223a2032357d0a', '', '\x', '\x79d6b4e1a74128e847bf07933625f0ad81edcbd67f8daf26e0c93067c5b2c246', 1);
INSERT INTO berthage_golden.berthage_events VALUES (27, 0, 'e26', 1795177560000001, 'ada é ''x''', 'token 🚢', 28587302322176, 'test.golden', 3, '\x7b20226e223a2032367d0a', '', '\x', '\x64ee37a14d76f69caddb92bbe8366f508961825bda3c92fbb3a3e89b9f795028', 1);
INSERT INTO berthage_golden.berthage_events VALUES (28, 0, 'e27', 1795177620000001, 'ada é ''x''', 'token 🚢', 29686813949952, 'test.golden', 1, '\x7b20226e223a2032377d0a', '', '\x', '\x224f6913d7f5df3b24cd5c78f499cc1792993d7c16a5c35f996cea274c41de30', 1);
INSERT INTO berthage_golden.berthage_events VALUES (29, 0, 'e28', 1795177680000001, 'ada é ''x''', 'token 🚢', 30786325577728, 'test.golden', 2, '\x7b20226e223a2032387d0a', '', '\x', '\xdaae0eeb61df403e2faafdd946ee6b88576c19fb718af5ec4020fec229abb734', 3);
INSERT INTO berthage_golden.berthage_events VALUES (29, 1, 'e28kept', 1795177680000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'kept', '\x5b404f91d487e0888aab579cc7bd43ec8d865f3628d80f0a54e9edcb15e617cc', '\x62745064ae5e25300785d8570b5afce284473ebfce6c49b24fd5d02c6f47b297', 3);
INSERT INTO berthage_golden.berthage_events VALUES (29, 2, 'e28forgotten', 1795177680000001, 'berthage', '', 0, 'test.private', 1, '\x6e756c6c', 'forgotten', '\x3f230fbfe5e35932b34a61a900a6af2a74024b203c6d4ebe637ffc408b5776e5', '\x77a5b58c61e0ae9b45089102f8f55a8e48f8db09e7b1e11aa5a1a2c0f691f5e6', 3);
INSERT INTO berthage_golden.berthage_events VALUES (30, 0, 'e29', 1795177740000001, 'ada é ''x''', 'token 🚢', 31885837205504, 'test.golden', 3, '\x7b20226e223a2032397d0a', '', '\x', '\xb6dc543536ad23d8d8a6a9eaac3504a24a3fc1af7cfda18c96f887a7207cd6c1', 1);
INSERT INTO berthage_golden.berthage_private VALUES (1, 1, 'kept', 0, '\x707269766174652070617274206f66206b657074', '\x7369787465656e206279746573206f72206d6f7265');
INSERT INTO berthage_golden.berthage_private VALUES (5, 1, 'kept', 0, '\x707269766174652070617274206f66206b657074', '\x7369787465656e206279746573206f72206d6f7265');
INSERT INTO berthage_golden.berthage_private VALUES (9, 1, 'kept', 0, '\x707269766174652070617274206f66206b657074', '\x7369787465656e206279746573206f72206d6f7265');
INSERT INTO berthage_golden.berthage_private VALUES (13, 1, 'kept', 0, '\x707269766174652070617274206f66206b657074', '\x7369787465656e206279746573206f72206d6f7265');
INSERT INTO berthage_golden.berthage_private VALUES (17, 1, 'kept', 0, '\x707269766174652070617274206f66206b657074', '\x7369787465656e206279746573206f72206d6f7265');
INSERT INTO berthage_golden.berthage_private VALUES (21, 1, 'kept', 0, '\x707269766174652070617274206f66206b657074', '\x7369787465656e206279746573206f72206d6f7265');
INSERT INTO berthage_golden.berthage_private VALUES (25, 1, 'kept', 0, '\x707269766174652070617274206f66206b657074', '\x7369787465656e206279746573206f72206d6f7265');
INSERT INTO berthage_golden.berthage_private VALUES (29, 1, 'kept', 0, '\x707269766174652070617274206f66206b657074', '\x7369787465656e206279746573206f72206d6f7265');
INSERT INTO berthage_golden.berthage_schema VALUES (1, '56d2ff3ab4162c5df0cef11e0b41620fd54a353eec5b04095f3d00fa0481ca6a', 1795206272454769);
INSERT INTO berthage_golden.berthage_scratch VALUES ('golden key', '\x676f6c64656e2076616c7565', 2, 8102406273141034);
INSERT INTO berthage_golden.berthage_sequence VALUES (2);
INSERT INTO berthage_golden.berthage_snapshot VALUES (12, 0, '\x676f6c64656e20736e617073686f74', '\x31decc7d3e827e311a8a36307e368d676d72a28c9ac4af89ce2958bebe6030d8');
ALTER TABLE ONLY berthage_golden.berthage_events
    ADD CONSTRAINT berthage_events_pkey PRIMARY KEY (revision, idx);
ALTER TABLE ONLY berthage_golden.berthage_private
    ADD CONSTRAINT berthage_private_pkey PRIMARY KEY (revision, idx);
ALTER TABLE ONLY berthage_golden.berthage_schema
    ADD CONSTRAINT berthage_schema_pkey PRIMARY KEY (version);
ALTER TABLE ONLY berthage_golden.berthage_scratch
    ADD CONSTRAINT berthage_scratch_pkey PRIMARY KEY (name);
ALTER TABLE ONLY berthage_golden.berthage_snapshot
    ADD CONSTRAINT berthage_snapshot_pkey PRIMARY KEY (revision, part);
CREATE INDEX berthage_private_subject ON berthage_golden.berthage_private USING btree (subject);
CREATE INDEX berthage_scratch_expires ON berthage_golden.berthage_scratch USING btree (expires);
