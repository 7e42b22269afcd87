-- Reactions that look the same are the same: each emoji has one spelling.

create function private.normalize_emoji(p_emoji text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Letters of any script, digits, _, + and -.
    c_name constant text := '[0-9A-Za-z_+\u00c0-\u1fff\u3040-\ud7ff-]+';
    -- A symbol with an optional skin tone and the tags of a flag.
    c_symbol constant text := '[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u24ff\u25a0-\u27bf'
        '\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001f1e5\U0001f200-\U0001faff]'
        '[\U0001f3fb-\U0001f3ff]?([\U000e0020-\U000e007e]+\U000e007f)?';
    -- Emoji that show as text without U+FE0F.
    c_text_symbol constant text := '[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u2328\u23cf'
        '\u23ed-\u23ef\u23f1\u23f2\u23f8-\u23fa\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb\u25fc\u2600-\u2604\u260e\u2611'
        '\u2618\u261d\u2620\u2622\u2623\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u265f\u2660\u2663\u2665'
        '\u2666\u2668\u267b\u267e\u2692\u2694-\u2697\u2699\u269b\u269c\u26a0\u26a7\u26b0\u26b1\u26c8\u26cf\u26d1'
        '\u26d3\u26e9\u26f0\u26f1\u26f4\u26f7-\u26f9\u2702\u2708\u2709\u270c\u270d\u270f\u2712\u2714\u2716\u271d'
        '\u2721\u2733\u2734\u2744\u2747\u2763\u2764\u27a1\u2934\u2935\u2b05-\u2b07\u3030\u303d\u3297\u3299'
        '\U0001f170\U0001f171\U0001f17e\U0001f17f\U0001f202\U0001f237\U0001f321\U0001f324-\U0001f32c\U0001f336'
        '\U0001f37d\U0001f396\U0001f397\U0001f399-\U0001f39b\U0001f39e\U0001f39f\U0001f3cb-\U0001f3ce'
        '\U0001f3d4-\U0001f3df\U0001f3f3\U0001f3f5\U0001f3f7\U0001f43f\U0001f441\U0001f4fd\U0001f549\U0001f54a'
        '\U0001f56f\U0001f570\U0001f573-\U0001f579\U0001f587\U0001f58a-\U0001f58d\U0001f590\U0001f5a5\U0001f5a8'
        '\U0001f5b1\U0001f5b2\U0001f5bc\U0001f5c2-\U0001f5c4\U0001f5d1-\U0001f5d3\U0001f5dc-\U0001f5de\U0001f5e1'
        '\U0001f5e3\U0001f5e8\U0001f5ef\U0001f5f3\U0001f5fa\U0001f6cb\U0001f6cd-\U0001f6cf\U0001f6e0-\U0001f6e5'
        '\U0001f6e9\U0001f6f0\U0001f6f3]';
    v_emoji text := regexp_replace(normalize(p_emoji, nfc), '[\ufe0e\ufe0f]', '', 'g');
begin
    if v_emoji ~ '^[#*0-9]\u20e3$' then
        return replace(v_emoji, e'\u20e3', e'\ufe0f\u20e3');
    elsif v_emoji ~ '^[\U0001f1e6-\U0001f1ff]{2}$'
        or v_emoji ~ ('^' || c_symbol || '(\u200d' || c_symbol || ')*$')
    then
        return regexp_replace(
            v_emoji, '(' || c_text_symbol || ')(?![\U0001f3fb-\U0001f3ff])', e'\\1\ufe0f', 'g'
        );
    -- After the symbols, because two of them are among the letters of Japanese.
    elsif v_emoji ~ ('^:?' || c_name || ':?$') then
        return btrim(v_emoji, ':');
    end if;
    return null;
end
$$;
comment on function private.normalize_emoji(text) is
'The one spelling of an emoji or of a name such as thumbsup or :thumbsup:, so that equal emoji have equal texts: in NFC,
with U+FE0F only where an emoji needs it. Null for any other text.';

create function private.parse_emoji(p_body jsonb) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_emoji text := private.normalize_emoji(private.parse_text(p_body, 'emoji', 64));
begin
    if v_emoji is null then
        perform private.fail(
            400, 'invalid_field', 'emoji must be one emoji, or a name such as thumbsup or :thumbsup:.', 'emoji'
        );
    end if;
    return v_emoji;
end
$$;
comment on function private.parse_emoji(jsonb) is
'Parses the field emoji: one emoji or a name, in its one spelling. PT400 for any other text.';

-- Definer, because clients may not call the parsers.
create function private.normalize_emoji_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    new.emoji := private.parse_emoji(jsonb_build_object('emoji', new.emoji));
    return new;
end
$$;
comment on function private.normalize_emoji_trigger() is
'Trigger: gives the emoji of a reaction its one spelling, so that the unique constraint finds the same reaction.';
