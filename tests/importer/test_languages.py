"""What WhatsApp writes for itself, in 46 languages, on an iPhone. The chat around it is invented."""

from pathlib import Path

import pytest

from tests.importer.reading import lines, read, shop

M = "\u200e"
RIGHT = ["< image:", "< audio:", "- deleted messages", "- calls", "> text:"]

# image left out, audio left out, deleted, missed call
WORDS = {
    "af": ("prent uitgelaat", "oudio uitgelaat", "Hierdie boodskap is geskrap.", "Gemiste stemoproep"),
    "ar": ("لم يتم إدراج الصورة", "لم يتم إدراج الصوت", "تم حذف هذه الرسالة.", "مكالمة صوتية فائتة"),
    "az": ("şəkil əlavə edilməyib", "audio əlavə edilməyib", "Bu mesaj silindi", "Cavabsız səsli zəng"),
    "bg": ("изображение пропуснато", "аудио пропуснато", "Това съобщение беше изтрито.", "Пропуснато гласово обаждане"),
    "bn": ("ছবি বাদ দেওয়া হয়েছে", "অডিও বাদ দেওয়া হয়েছে", "এই মেসেজটি মুছে ফেলা হয়েছে।", "মিসড ভয়েস কল"),
    "ca": ("imatge omesa", "àudio omès", "S'ha eliminat aquest missatge.", "Trucada de veu perduda"),
    "cs": ("obrázek vynechán", "audio vynecháno", "Tato zpráva byla odstraněna.", "Zmeškaný hlasový hovor"),
    "da": ("billede udeladt", "lyd udeladt", "Denne besked blev slettet.", "Ubesvaret taleopkald"),
    "de": ("Bild weggelassen", "Audio weggelassen", "Diese Nachricht wurde gelöscht.", "Verpasster Sprachanruf"),
    "el": ("εικόνα παραλείφθηκε", "ήχος παραλείφθηκε", "Αυτό το μήνυμα διαγράφηκε.", "Αναπάντητη φωνητική κλήση"),
    "en": ("image omitted", "audio omitted", "This message was deleted.", "Missed voice call"),
    "es": ("imagen omitida", "audio omitido", "Se eliminó este mensaje.", "Llamada perdida"),
    "et": ("pilt välja jäetud", "heli välja jäetud", "See sõnum kustutati.", "Vastamata häälkõne"),
    "fa": ("تصویر حذف شده", "صدا حذف شده", "این پیام حذف شد.", "تماس صوتی از دست رفته"),
    "fi": ("kuva jätetty pois", "ääni jätetty pois", "Tämä viesti poistettiin.", "Vastaamaton äänipuhelu"),
    "fr": ("image absente", "audio omis", "Ce message a été supprimé.", "Appel vocal manqué"),
    "gu": ("ઇમેજ છોડી દેવામાં આવી", "ઑડિયો છોડી દેવામાં આવી", "આ મેસેજ ડિલીટ કરવામાં આવ્યો", "મિસ્ડ વૉઇસ કૉલ"),
    "he": ("תמונה הושמטה", "שמע הושמט", "הודעה זו נמחקה.", "שיחה קולית שלא נענתה"),
    "hi": ("इमेज छोड़ी गई", "ऑडियो छोड़ा गया", "यह मैसेज मिटाया गया।", "मिस्ड वॉइस कॉल"),
    "hr": ("slika izostavljena", "audiozapis izostavljen", "Ova poruka je izbrisana.", "Propušten glasovni poziv"),
    "hu": ("kép kihagyva", "hang kihagyva", "Ezt az üzenetet törölték.", "Nem fogadott hanghívás"),
    "id": (
        "gambar tidak disertakan",
        "audio tidak disertakan",
        "Pesan ini telah dihapus.",
        "Panggilan suara tak terjawab",
    ),
    "it": ("immagine omessa", "audio omesso", "Questo messaggio è stato eliminato.", "Chiamata vocale persa"),
    "ja": ("画像は含まれていません", "音声は含まれていません", "このメッセージは削除されました。", "不在着信"),
    "ko": ("이미지 생략됨", "오디오 생략됨", "이 메시지는 삭제되었습니다.", "부재중 음성 통화"),
    "lt": ("nuotrauka praleista", "garso įrašas praleistas", "Ši žinutė buvo ištrinta.", "Praleistas balso skambutis"),
    "lv": ("attēls izlaists", "audio izlaists", "Šis ziņojums tika izdzēsts.", "Neatbildēts balss zvans"),
    "ms": ("imej diabaikan", "audio diabaikan", "Mesej ini telah dipadam.", "Panggilan suara terlepas"),
    "nb": ("bilde utelatt", "lyd utelatt", "Denne meldingen ble slettet.", "Tapt taleanrop"),
    "nl": ("afbeelding weggelaten", "audio weggelaten", "Dit bericht is verwijderd.", "Gemiste spraakoproep"),
    "pl": (
        "obraz pominięto",
        "plik audio pominięto",
        "Ta wiadomość została usunięta.",
        "Nieodebrane połączenie głosowe",
    ),
    "pt": ("imagem ocultada", "áudio ocultado", "Mensagem apagada", "Chamada de voz perdida"),
    "ro": ("imagine omisă", "audio omis", "Acest mesaj a fost șters.", "Apel vocal pierdut"),
    "ru": ("изображение отсутствует", "аудиофайл отсутствует", "Данное сообщение удалено.", "Пропущенный аудиозвонок"),
    "sk": ("obrázok vynechaný", "audio vynechané", "Táto správa bola odstránená.", "Zmeškaný hlasový hovor"),
    "sl": ("slika izpuščena", "zvok izpuščen", "To sporočilo je bilo izbrisano.", "Zgrešen glasovni klic"),
    "sr": ("слика изостављена", "звук изостављен", "Ова порука је избрисана.", "Пропуштен гласовни позив"),
    "sv": ("bild utelämnad", "ljud utelämnat", "Detta meddelande raderades.", "Missat röstsamtal"),
    "sw": ("picha imeachwa", "sauti imeachwa", "Ujumbe huu ulifutwa.", "Simu uliyokosa"),
    "ta": ("படம் விடுபட்டது", "ஆடியோ விடுபட்டது", "இந்தச் செய்தி நீக்கப்பட்டது.", "தவறிய குரல் அழைப்பு"),
    "th": ("รูปภาพถูกละไว้", "เสียงถูกละไว้", "ข้อความนี้ถูกลบ", "สายโทรด้วยเสียงที่ไม่ได้รับ"),
    "tr": ("görüntü dahil edilmedi", "ses dahil edilmedi", "Bu mesaj silindi.", "Cevapsız sesli arama"),
    "uk": ("зображення пропущено", "аудіо пропущено", "Це повідомлення було видалено.", "Пропущений голосовий виклик"),
    "vi": ("hình ảnh bị bỏ qua", "âm thanh bị bỏ qua", "Tin nhắn này đã bị xóa.", "Cuộc gọi thoại nhỡ"),
    "zh": ("忽略图像", "忽略音频", "此消息已删除。", "未接语音通话"),
    "zh-Hant": ("圖片已略去", "音訊已略去", "此訊息已刪除。", "未接語音通話"),
}


def chat(folder: Path, *said: str) -> Path:
    file = folder / "_chat.txt"
    text = "".join(f"[{13 + place}/03/2024, 10:00:00] Ada: {line}\n" for place, line in enumerate(said))
    file.write_text(f"{text}[30/03/2024, 10:00:00] Shop: ok\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("language", WORDS)
def test_marked_words_of_a_language_are_understood(tmp_path: Path, language: str) -> None:
    file = chat(tmp_path, *(f"{M}{words}" for words in WORDS[language]))
    found = [line if line[0] == "-" else line[20:] for line in lines(read(file, shop())[1][0])]
    assert found == [*RIGHT[:-1], "> text: ok"]


OTHER_WORDS = [
    ("لم يتم إدراج بطاقة جهة اتصال", "contact:"),
    ("تم حذف الملصقات", "sticker:"),
    ("لم يتم إدراج صورة GIF", "video:"),
    ("لقد حذَفت هذه الرسالة.", "deleted messages"),
    ("zvukový soubor vynechán", "audio:"),
    ("Tuto zprávu jste smazal/a.", "deleted messages"),
    ("Zprávy a hovory jsou opatřeny koncovým šifrováním.", "notices"),
    ("यह मैसेज डिलीट कर दिया गया है.", "deleted messages"),
    ("Contacto não revelado", "contact:"),
    ("บัตรรายชื่อที่ละเว้น", "contact:"),
    ("Наклейку не додано", "sticker:"),
    ("Bỏ qua thẻ liên lạc", "contact:"),
]


@pytest.mark.parametrize(("words", "right"), OTHER_WORDS, ids=range(len(OTHER_WORDS)))
def test_other_words_of_iphones_are_understood(tmp_path: Path, words: str, right: str) -> None:
    found = lines(read(chat(tmp_path, f"{M}{words}", "hi"), shop())[1][0])[0]
    assert found.removeprefix("- ").removeprefix("2024-03-13 10:00:00 < ") == right


@pytest.mark.parametrize("language", ["cs", "de", "hi", "ru", "zh"])
def test_deleted_is_understood_without_a_mark(tmp_path: Path, language: str) -> None:
    file = chat(tmp_path, WORDS[language][2])
    assert lines(read(file, shop())[1][0])[0] == "- deleted messages"


KINDS = [
    ("the image omitted from the list", "text: the image omitted from the list"),
    ("Video call", "text: Video call"),
    ("<Media omitted>", "file:"),
    ("<Medien ausgeschlossen>\nthe new bike", "file: the new bike"),
    ("<Média omis>", "file:"),
    ("<div>", "text: <div>"),
    ('<a href="x">', 'text: <a href="x">'),
    ("IMG-20240313-WA0001.jpg (file attached)\nlook", "image: look"),
    ("PTT-20240313-WA0002.opus (Datei angehängt)", "audio:"),
    ("STK-20240313-WA0003.webp (archivo adjunto)", "sticker:"),
    ("Bo.vcf (fichier joint)", "contact:"),
    ("plan.pdf (see page 2)", "text: plan.pdf (see page 2)"),
    (f"{M}<attached: 00000012-PHOTO-2024-03-13-10-00-00.jpg>", "image:"),
    (f"plan.pdf {M}<Anhang: 00000013-plan.pdf>", "file: plan.pdf"),
    (f"see you {M}<This message was edited>", "text: see you"),
    (f"bis dann {M}<Diese Nachricht wurde bearbeitet.>", "text: bis dann"),
    ("live location shared", "location: live location shared"),
    ("at https://maps.google.com/?q=1,2 I think", "text: at https://maps.google.com/?q=1,2 I think"),
    (
        f"{M}POLL:\nWhen?\n{M}OPTION: ten (1 vote)\n{M}OPTION: one (0 votes)",
        "poll: POLL: / When? / OPTION: ten (1 vote) / OPTION: one (0 votes)",
    ),
    (f"{M}I left the keys, it changed to rain", "text: I left the keys, it changed to rain"),
    ("Waiting for this message from Bo", "text: Waiting for this message from Bo"),
    (f"{M}Contact card omitted", "contact:"),
    (f"{M}GIF omitted", "video:"),
    (f"{M}sticker omitted", "sticker:"),
    (f"{M}video note omitted", "video:"),
]


@pytest.mark.parametrize(("said", "right"), KINDS, ids=range(len(KINDS)))
def test_entry_gets_its_kind(tmp_path: Path, said: str, right: str) -> None:
    assert lines(read(chat(tmp_path, said), shop())[1][0])[0][22:] == right


def test_media_have_one_id_with_and_without_their_file(tmp_path: Path) -> None:
    with_file = chat(tmp_path, f"{M}<attached: 00000012-PHOTO-2024-03-13-10-00-00.jpg>")
    first = read(with_file, shop())[1][0].entries[0]
    second = read(chat(tmp_path, f"{M}image omitted"), shop())[1][0].entries[0]
    assert first.id == second.id


def test_notice_about_its_signer_is_left_out(tmp_path: Path) -> None:
    file = chat(tmp_path, f"{M}Ada left", "bye", "Waiting for this message. This may take a while.")
    found = lines(read(file, shop())[1][0])
    assert [line if line[0] == "-" else line[20:] for line in found[:3]] == [
        "- notices",
        "< text: bye",
        "- messages that the phone was waiting for",
    ]
